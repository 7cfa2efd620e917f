-- swap: put a freshly filled line in the place of the old one, and say so by its epoch.
-- KEYS[1] fresh line   sorted set  member -> rank
-- KEYS[2] fresh epoch  string      the epoch of the filling; gone if it was lost meanwhile
-- KEYS[3] line         sorted set  member -> rank
-- KEYS[4] epoch        string
-- ARGV    epoch
-- returns 1, or 0 if what was filled in isn't whole any more
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[3])
  redis.call('PERSIST', KEYS[3])
else
  redis.call('DEL', KEYS[3])
end
redis.call('RENAME', KEYS[2], KEYS[4])
redis.call('PERSIST', KEYS[4])
return 1
