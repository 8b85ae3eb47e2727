-- KEYS: holders, ... ARGV: token, ttl in µs
local deadline = redis.call('ZSCORE', holders, ARGV[1])
if not deadline or tonumber(deadline) <= now then
  return 0
end
-- The removal comes first: after one, a full server lets the script write.
redis.call('ZREM', holders, ARGV[1])
redis.call('ZADD', holders, now + ARGV[2], ARGV[1])
keep()
return 1
