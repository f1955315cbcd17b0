-- Shows what is in clear of Portolan's UDP (crates/rudp/WIRE.md): kinds of packets, connection
-- IDs, lengths, tokens. Numbers and frames of Handshake and Data packets are encrypted; those of
-- Init packets are not, and are shown as far as they are simple.
--
-- Install: copy this file into Wireshark's folder of personal Lua plugins
-- (Help > About > Folders), or `tshark -X lua_script:portolan.lua`.

local portolan = Proto("portolan", "Portolan UDP")

local KINDS = { [0] = "Init", [1] = "Handshake", [2] = "Data", [3] = "Stateless" }
local FRAMES = {
    [0x00] = "PADDING", [0x01] = "PROBE", [0x02] = "ACK", [0x03] = "ACK", [0x06] = "CRYPTO",
    [0x3b] = "CLOSE",
}
local ID_LEN, TAG_LEN = 8, 16

local fields = {
    kind = ProtoField.uint8("portolan.kind", "Kind", base.DEC, KINDS, 0x30),
    version = ProtoField.uint8("portolan.version", "Version"),
    destination = ProtoField.bytes("portolan.destination", "Destination ID"),
    source = ProtoField.bytes("portolan.source", "Source ID"),
    token = ProtoField.bytes("portolan.token", "Token"),
    length = ProtoField.uint16("portolan.length", "Length"),
    number = ProtoField.uint32("portolan.number", "Packet number"),
    frame = ProtoField.uint64("portolan.frame", "Frame", base.HEX),
    sealed = ProtoField.bytes("portolan.sealed", "Sealed"),
    checksum = ProtoField.bytes("portolan.checksum", "Checksum"),
}
portolan.fields = fields

-- A variable-length integer (RFC 9000, section 16): its value and its bytes; nil if it is cut.
local function varint(range, at)
    if at >= range:len() then return nil end
    local first = range(at, 1):uint()
    local len = 2 ^ math.floor(first / 64)
    if at + len > range:len() then return nil end
    local value = first % 64
    for i = 1, len - 1 do value = value * 256 + range(at + i, 1):uint() end
    return value, len
end

-- The frames of an Init packet, up to the first that this does not know.
local function frames(range, tree)
    local at = 0
    while at < range:len() do
        local kind, len = varint(range, at)
        if kind == nil then return end
        local start = at
        at = at + len
        if kind == 0x06 then
            local _, offset_len = varint(range, at)
            if offset_len == nil then return end
            at = at + offset_len
            local data_len, len_len = varint(range, at)
            if data_len == nil then return end
            at = math.min(at + len_len + data_len, range:len())
        elseif kind == 0x00 then
            while at < range:len() and range(at, 1):uint() == 0 do at = at + 1 end
        elseif kind ~= 0x01 then
            at = range:len()
        end
        local item = tree:add(fields.frame, range(start, at - start), UInt64(kind))
        item:append_text(" " .. (FRAMES[kind] or "another"))
    end
end

-- Each shows one packet that begins at 0 of `range`, and answers its length.
local show = {}

function show.Init(range, tree)
    local at = 1
    tree:add(fields.version, range(at, 1)); at = at + 1
    tree:add(fields.destination, range(at, ID_LEN)); at = at + ID_LEN
    tree:add(fields.source, range(at, ID_LEN)); at = at + ID_LEN
    local token_len, len = varint(range, at)
    if token_len == nil then return range:len() end
    at = at + len
    if token_len > 0 then tree:add(fields.token, range(at, token_len)); at = at + token_len end
    local length = range(at, 2):uint()
    tree:add(fields.length, range(at, 2)); at = at + 2
    local number_len = range(0, 1):uint() % 4 + 1
    tree:add(fields.number, range(at, number_len))
    frames(range(at + number_len, length - number_len - TAG_LEN), tree)
    tree:add(fields.checksum, range(at + length - TAG_LEN, TAG_LEN))
    return at + length
end

function show.Handshake(range, tree)
    local at = 1
    tree:add(fields.destination, range(at, ID_LEN)); at = at + ID_LEN
    local length = range(at, 2):uint()
    tree:add(fields.length, range(at, 2)); at = at + 2
    tree:add(fields.sealed, range(at, length))
    return at + length
end

function show.Data(range, tree)
    tree:add(fields.destination, range(1, ID_LEN))
    tree:add(fields.sealed, range(1 + ID_LEN))
    return range:len()
end

function show.Stateless(range, tree)
    tree:add(fields.destination, range(1, ID_LEN))
    tree:add(fields.source, range(1 + ID_LEN, ID_LEN))
    local rest = range:len() - 1 - 2 * ID_LEN - TAG_LEN
    if rest > 0 then tree:add(fields.token, range(1 + 2 * ID_LEN, rest)) end
    tree:add(fields.checksum, range(range:len() - TAG_LEN))
    return range:len()
end

local function packet_kind(first)
    return KINDS[math.floor(first / 16) % 4]
end

function portolan.dissector(buffer, info, root)
    local names, at = {}, 0
    while at < buffer:len() do
        local first = buffer(at, 1):uint()
        -- 0b10……: the range that RFC 9443 leaves; zeros behind a packet are padding.
        if math.floor(first / 64) ~= 2 then break end
        local kind = packet_kind(first)
        local tree = root:add(portolan, buffer(at), "Portolan UDP, " .. kind)
        tree:add(fields.kind, buffer(at, 1))
        local whole, len = pcall(show[kind], buffer(at):tvb():range(), tree)
        names[#names + 1] = kind
        if not whole then
            names[#names] = kind .. " (cut)"
            break
        end
        tree:set_len(len)
        at = at + len
    end
    if #names == 0 then return 0 end
    info.cols.protocol = "Portolan"
    info.cols.info = table.concat(names, ", ")
    return buffer:len()
end

-- By the port that servers have by default, and by the look of a client's first datagram.
DissectorTable.get("udp.port"):add(7275, portolan)
portolan:register_heuristic("udp", function(buffer, info, root)
    if buffer:len() < 1200 or math.floor(buffer(0, 1):uint() / 16) ~= 8 then return false end
    if buffer(1, 1):uint() ~= 1 then return false end
    info.conversation = portolan
    return portolan.dissector(buffer, info, root) > 0
end)
