-- The second part of acquire.lua, for a slot with holders, waiters or tokens in `ended`.
local token, max = ARGV[1], tonumber(ARGV[7])
if redis.call('ZSCORE', ended, token) then
  return {4, 0, now}
end
expire()
-- The token has a hold if it was handed one, if the answer to its request was lost, or if its turn is now.
local mine = redis.call('ZSCORE', holders, token) or hand_over(ARGV[2], ARGV[3], token, max)
if not mine and more then
  return {5, 0, now}
end
if not mine and (redis.call('ZCARD', holders) >= max or redis.call('EXISTS', queue) == 1) then
  local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')
  local left = first[2] and first[2] - now or 1000000
  if not ARGV[8] then
    return {0, left, now}
  end
  local place = tonumber(redis.call('ZSCORE', queue, token) or nil)
  if not place then
    local last = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')
    -- Places start at the time, so they keep growing even if the queue was empty in between.
    place = math.max((last[2] or 0) + 1, now)
    redis.call('ZADD', queue, string.format('%.0f', place), token)
  end
  redis.call('HSET', places, token, string.format('%.0f %d', now + ARGV[8], max))
  -- One waiter of each node asks again every second, for all waiters of the node.
  redis.call('HSET', nodes, node_of(token), string.format('%.0f', now + ARGV[9]))
  redis.call('PEXPIRE', nodes, math.ceil(ARGV[9] / 1000))
  local life = math.ceil(ARGV[8] / 1000) + 5000
  if redis.call('PTTL', queue) < life then
    redis.call('PEXPIRE', queue, life)
  end
  if redis.call('PTTL', places) < life then
    redis.call('PEXPIRE', places, life)
  end
  return {2, math.min(left, 900000), now, place}
end
redis.call('HDEL', places, token)
local granted = grant()
keep()
return granted
