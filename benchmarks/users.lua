-- Requests of the users router, for wrk. Arguments: the operation, how many users there
-- are, a name for this run, and the path to read from. Prints one line of JSON: what was
-- answered, and how fast.

local threads = {}
local counter = 0
statuses = {}

function setup(thread)
  thread:set("id", #threads)
  table.insert(threads, thread)
end

function init(args)
  operation = args[1]
  users = tonumber(args[2])
  run = args[3]
  path = args[4]
  math.randomseed(id + 1)
end

local function body()
  counter = counter + 1
  return string.format('{"name":"Ada","email":"%s.%d.%d@example.com"}', run, id, counter)
end

function request()
  if operation == "read" then
    return wrk.format("GET", path .. math.random(users))
  elseif operation == "list" then
    return wrk.format("GET", "/users?limit=20&offset=" .. math.random(0, users - 20))
  end
  return wrk.format("POST", "/users", { ["Content-Type"] = "application/json" }, body())
end

function response(status)
  statuses[status] = (statuses[status] or 0) + 1
end

function done(summary, latency)
  local total = {}
  for _, thread in ipairs(threads) do
    for status, number in pairs(thread:get("statuses")) do
      total[status] = (total[status] or 0) + number
    end
  end
  local counts = {}
  for status, number in pairs(total) do
    table.insert(counts, string.format('"%d": %d', status, number))
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"seconds": %f, "p50": %f, "p99": %f, "longest": %f, "statuses": {%s}, "broken": %d}\n',
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, table.concat(counts, ", "),
    errors.connect + errors.read + errors.write + errors.timeout))
end
