-- The rest of release.lua.
local token, released = ARGV[1], removed
local again = ARGV[4] == 'again'
local deadline = redis.call('ZSCORE', holders, token)
if ARGV[4] == 'claim' then
  -- Somebody sent a message about it, who may not have been one of us: a claim that is as the message says, and was not made.
  local unclaimed = redis.call('HGET', places, token)
  if not unclaimed or tonumber(deadline or 0) ~= tonumber(ARGV[5]) then
    return 0
  end
end
if deadline then
  redis.call('ZREM', holders, token)
  removed = true
  released = tonumber(deadline) > now
end
if again or not removed or redis.call('EXISTS', queue, places) > 0 then
  if redis.call('ZREM', queue, token) == 1 then
    released = true
  end
  local unclaimed = redis.call('HDEL', places, token) == 1
  expire()
  hand_over(ARGV[2], ARGV[3])
  -- Its request may still be on the way, by a connection that broke: it must not take anything after this.
  if again or unclaimed or not removed then
    local over = redis.pcall('ZRANGEBYSCORE', ended, '-inf', now, 'LIMIT', 0, steps)
    if over[1] then
      redis.pcall('ZREM', ended, unpack(over))
    end
    redis.pcall('ZADD', ended, now + 10000000, token)
    redis.pcall('PEXPIRE', ended, 10000)
  end
end
return (released and 1 or 0) + (more and 2 or 0)
