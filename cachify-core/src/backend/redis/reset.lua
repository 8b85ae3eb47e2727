-- KEYS: entry, lease. ARGV: channel, message[, offset and bytes to write into the entry, which is then kept]
local waiting = fields(KEYS[2])
-- The deletion comes first: a full server permits writes only after it, and a message that fails must not undo it.
redis.call('DEL', KEYS[2])
local kept = ARGV[3] and redis.call('EXISTS', KEYS[1]) == 1
  and type(redis.pcall('SETRANGE', KEYS[1], ARGV[3], ARGV[4])) == 'number'
if not kept then
  redis.call('DEL', KEYS[1])
end
tell(waiting, ARGV[1], ARGV[2])
return 1
