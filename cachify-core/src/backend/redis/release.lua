-- KEYS: holders, queue, places, ended. ARGV: token, channel, what[, deadline of the claim that is given up]
local token = ARGV[1]
local deadline = redis.call('ZSCORE', holders, token)
if ARGV[4] and tonumber(deadline or 0) ~= tonumber(ARGV[4]) then
  return 0
end
local released = 0
if deadline then
  redis.call('ZREM', holders, token)
  if tonumber(deadline) > now then
    released = 1
  end
end
if not deadline or redis.call('EXISTS', queue, places) > 0 then
  if redis.call('ZREM', queue, token) == 1 then
    released = 1
  end
  local unclaimed = redis.call('HDEL', places, token)
  expire()
  hand_over(nil, ARGV[2], ARGV[3])
  -- Its request may still be on the way, by a connection that broke: it must not take anything after this.
  if unclaimed == 1 or not deadline then
    redis.pcall('ZREMRANGEBYSCORE', ended, '-inf', now)
    redis.pcall('ZADD', ended, now + 10000000, token)
    redis.pcall('PEXPIRE', ended, 10000)
  end
end
return released
