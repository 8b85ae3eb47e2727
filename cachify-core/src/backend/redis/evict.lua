-- KEYS: holders, queue, places, ended, nodes. ARGV: channel, what, not after[, 'more': it ran before]
-- Answers {whether somebody held it, 0, now}, or {5, 0, now} to be run again.
if in_vain(ARGV[3]) then
  return {3, 0, now}
end
local held = 1
if not ARGV[4] then
  held = redis.call('ZCOUNT', holders, string.format('(%.0f', now), '+inf')
  redis.call('DEL', holders)
end
hand_over(ARGV[1], ARGV[2])
if more and held > 0 then
  return {5, 0, now}
end
return {held > 0 and 1 or 0, 0, now}
