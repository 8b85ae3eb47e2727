-- The second part of release.lua.
local token, released = ARGV[1], removed
local again = ARGV[4] == 'again'
local deadline = redis.call('ZSCORE', holders, token)
if ARGV[4] == 'claim' then
  -- The message behind this may be forged, so it may only end an uncollected claim with exactly its deadline.
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
  -- The request of this token may still be on its way, from a broken connection. It must not take the slot later.
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
