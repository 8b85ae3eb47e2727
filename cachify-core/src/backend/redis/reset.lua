-- KEYS: entry, lease. ARGV: channel, message
local waiting = fields(KEYS[2])
-- The deletion comes first: on a full server, nothing may be written before it, and no word that fails may undo it.
redis.call('DEL', KEYS[1], KEYS[2])
tell(waiting, ARGV[1], ARGV[2])
return 1
