-- requests: those of a file, a line each: method, path and body, with a tab between.
-- arguments: milliseconds between a thread's requests (0: none), the site's origin, the file,
-- how many threads share it
dofile(os.getenv("SCRIPTS") .. "/report.lua")
local lines, headers = {}, {}
local count = 0

function init(args)
  math.randomseed(os.time() + number)
  headers = { ["Origin"] = args[2], ["Accept"] = "application/json" }
  local nth, share = 0, tonumber(args[4])
  for line in io.lines(args[3]) do
    if nth % share == number then
      local method, path, body = line:match("^(%S+)\t(%S+)\t?(.*)$")
      table.insert(lines, { method, path, body })
    end
    nth = nth + 1
  end
  pace(tonumber(args[1]))
end

-- what is read is asked for again and again; what changes something, once
function request()
  count = count + 1
  if count >= #lines and lines[1][1] ~= "GET" then wrk.thread:stop() end
  local method, path, body = unpack(lines[(count - 1) % #lines + 1])
  headers["X-Forwarded-For"] = visitor()
  headers["Content-Type"] = body ~= "" and "application/json" or nil
  return wrk.format(method, path, headers, body ~= "" and body or nil)
end
