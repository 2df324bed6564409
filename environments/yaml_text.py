"""Read YAML that a person may have edited."""

from typing import Any

import yaml
from yaml.constructor import ConstructorError

MERGE = "tag:yaml.org,2002:merge"


class NotYamlError(Exception):
    """A text is no YAML. The message is one line."""


class RepeatedKeyError(ConstructorError):
    """A mapping has a key more than once."""


def read_yaml(text: str, loader: type[yaml.SafeLoader]) -> Any:
    """Return what a text holds; raises NotYamlError, or RepeatedKeyError."""
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 (a safe loader)
    except RepeatedKeyError:
        raise
    except Exception as error:
        # PyYAML raises a ValueError for the date 2026-02-30, a KeyError for `!!bool x`.
        raise NotYamlError(" ".join(str(error).split())) from error


class UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a repeated key, of which PyYAML takes the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that is there already. What is merged in may be."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        own = [key for key, _ in node.value if key.tag != MERGE]
        keys = [self.construct_object(key, deep=True) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                message = f"{key}: is given more than once"
                raise RepeatedKeyError(None, None, message)
        return node
