-- report: what both scripts share. Counts answers by status, sends no faster than told, and
-- at the end prints one line of JSON: statuses, seconds, p50 and p99 in microseconds, errors.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long micros; } bench_time;
  int gettimeofday(bench_time *time, void *zone);
]]
local time = ffi.new("bench_time")
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

-- a visitor's address, of the public ones that no list of reserved networks names
function visitor()
  local first = math.random(20, 99)
  return first .. "." .. math.random(0, 255) .. "." .. math.random(0, 255) .. "." .. math.random(1, 254)
end

local function now()
  ffi.C.gettimeofday(time, nil)
  return tonumber(time.seconds) * 1000 + tonumber(time.micros) / 1000
end

-- every thread sends one request each `interval` milliseconds, by a schedule, not by the answers
function pace(interval)
  if interval == 0 then return end
  local due = now() + number * interval / 2
  function delay()
    due = math.max(due + interval, now() - 50)
    return math.max(0, math.floor(due - now()))
  end
end

statuses = {}
function response(status)
  local key = tostring(status)
  statuses[key] = (statuses[key] or 0) + 1
end

function done(summary, latency)
  local total = {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      total[status] = (total[status] or 0) + count
    end
  end
  local counts = {}
  for status, count in pairs(total) do
    table.insert(counts, string.format('"%s": %d', status, count))
  end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
  io.write(string.format(
    '{"statuses": {%s}, "seconds": %.6f, "p50": %.1f, "p99": %.1f, "errors": %d, "timeouts": %d}\n',
    table.concat(counts, ", "), summary.duration / 1e6, latency:percentile(50),
    latency:percentile(99), errors, summary.errors.timeout))
end
