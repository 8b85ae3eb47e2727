-- KEYS: holders, queue, places, ended, nodes
-- ARGV: token, channel, slot text[, 'again' if the acquire was sent twice | 'claim', deadline to release only a claim]
-- Returns 1 if the token was released, plus 2 if the script must run again.
-- The usual case: a lock without waiters.
local removed = false
if not ARGV[4] and string.sub(ARGV[3], 1, 1) == 'L' then
  removed = redis.call('ZREM', KEYS[1], ARGV[1]) == 1
  if removed and redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then
    return 1
  end
end
