-- Posts the files named after "--" in turn, and prints the results as one line of JSON.
local requests = {}
local sent = 0

function init(files)
  local headers = { ["Content-Type"] = "application/json" }
  for _, name in ipairs(files) do
    local file = assert(io.open(name, "rb"))
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

-- Times are in microseconds; errors.status counts every status above 399.
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "p50": %d, "p95": %d, "p99": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
