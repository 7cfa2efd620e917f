-- join: new people who join, each from a network of their own, as a browser sends the form.
-- arguments: milliseconds between a thread's requests (0: none), the site's origin,
-- a word for this run, "page" or "json" (what is asked for)
dofile(os.getenv("SCRIPTS") .. "/report.lua")
local run, origin, body, headers
local count = 0

function init(args)
  origin, run = args[2], args[3]
  math.randomseed(tonumber(run, 36) % 2147483647 + number)
  local json = args[4] == "json"
  headers = {
    ["Origin"] = origin,
    ["Content-Type"] = json and "application/json" or "application/x-www-form-urlencoded",
    ["Accept"] = json and "application/json" or "text/html,application/xhtml+xml,*/*;q=0.8",
    ["Accept-Language"] = "en-US,en;q=0.9",
  }
  body = json and '{"address": "%s.%d.%d@example.org"}' or "lang=en&address=%s.%d.%d%%40example.org"
  pace(tonumber(args[1]))
end

function request()
  count = count + 1
  headers["X-Forwarded-For"] = visitor()
  return wrk.format("POST", "/join", headers, string.format(body, run, number, count))
end
