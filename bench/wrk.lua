-- Asks for one page of each owner in turn, each with its own token.
-- Arguments: a file of `owner token` lines, the line to begin with, the path.

local requests = {}
local position = 0

function init(args)
  local number = 0
  for text in io.lines(args[1]) do
    local owner, token = text:match("^(%S+) (%S+)$")
    local headers = {["authorization"] = "Bearer " .. token, ["x-developer-id"] = owner}
    number = number + 1
    requests[number] = wrk.format("GET", args[3], headers)
  end
  position = tonumber(args[2]) % number
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "failed": %d, "bytes": %d, "p50": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6, failed, summary.bytes,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
