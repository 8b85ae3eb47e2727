-- KEYS: holders, queue, places, ended[, fence]. ARGV: token, channel, what, not after, ttl in µs, max[, wait in µs]
if now > tonumber(ARGV[4]) then
  return {3, 0, now}
end
local token = ARGV[1]
if redis.call('EXISTS', holders, queue, ended) > 0 then
  if redis.call('ZSCORE', ended, token) then
    return {4, 0, now}
  end
  expire()
  local max = tonumber(ARGV[6])
  -- The claim of a waiter whose turn it is, or of a request whose answer got lost.
  local mine = redis.call('ZSCORE', holders, token) or hand_over(token, ARGV[2], ARGV[3])
  if not mine and (redis.call('ZCARD', holders) >= max or redis.call('EXISTS', queue) == 1) then
    local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')
    local left = first[2] and first[2] - now or 1000000
    if not ARGV[7] then
      return {0, left, now}
    end
    if not redis.call('ZSCORE', queue, token) then
      local last = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')
      redis.call('ZADD', queue, (last[2] or 0) + 1, token)
    end
    redis.call('HSET', places, token, string.format('%.0f %d', now + ARGV[7], max))
    local life = math.ceil(ARGV[7] / 1000) + 5000
    if redis.call('PTTL', queue) < life then
      redis.call('PEXPIRE', queue, life)
    end
    if redis.call('PTTL', places) < life then
      redis.call('PEXPIRE', places, life)
    end
    return {2, math.min(left, 900000), now}
  end
  redis.call('HDEL', places, token)
end
local fence = 0
if KEYS[5] then
  -- Numbers stay numbers: as text, Lua cuts them to 14 digits.
  fence = now
  local last = tonumber(redis.call('SET', KEYS[5], fence, 'PX', 172800000, 'GET') or 0)
  if last >= fence then
    fence = last + 1
    redis.call('SET', KEYS[5], fence, 'PX', 172800000)
  end
end
redis.call('ZADD', holders, now + ARGV[5], token)
keep()
return {1, fence, now}
