"""A look-alike of Neon: the files of its containers, and what drives them."""
