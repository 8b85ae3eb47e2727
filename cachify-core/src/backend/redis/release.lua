-- KEYS: holders, queue, places, ended, nodes. ARGV: token, channel, what[, 'again': it was asked for twice][, 'claim', deadline: it is
-- given back unless it was claimed]
-- Answers 1 if it was held, and 2 more to be run again.
-- The usual case: a lock for which nobody waits.
local removed = false
if not ARGV[4] and string.sub(ARGV[3], 1, 1) == 'L' then
  removed = redis.call('ZREM', KEYS[1], ARGV[1]) == 1
  if removed and redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then
    return 1
  end
end
