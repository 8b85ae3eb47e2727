-- KEYS: entry, lease. ARGV: channel, message, channel of resets, key[, offset and bytes to write into the entry, which is then kept]
-- Answers 2 if the word to copies in memory was not permitted.
local waiting = fields(KEYS[2])
-- The deletion comes first: a full server permits writes only after it, and a message that fails must not undo it.
redis.call('DEL', KEYS[2])
local kept = ARGV[5] and redis.call('EXISTS', KEYS[1]) == 1
  and type(redis.pcall('SETRANGE', KEYS[1], ARGV[5], ARGV[6])) == 'number'
if not kept then
  redis.call('DEL', KEYS[1])
end
tell(waiting, ARGV[1], ARGV[2])
return void(ARGV[3], ARGV[4]) and 1 or 2
