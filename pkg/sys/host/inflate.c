/*
 * Unpacks what the build has packed: DEFLATE (RFC 1951), one stream whose unpacked size is known. The stream is part of
 * this file, so damage is a fault of the build: it is told apart from a whole stream, no more.
 */
#include "host.h"

enum { LONGEST_CODE = 15, LITERALS = 288, DISTANCES = 32, END_OF_BLOCK = 256, FIRST_LENGTH = 257 };

struct stream {
	const uint8_t *in;
	size_t in_left;
	uint8_t *out;
	size_t out_at, out_size;
	uint32_t bits;
	int bit_count;
	bool is_damaged;
};

/* Canonical Huffman codes (section 3.2.2): how many there are of each length, and their symbols in the codes' order. */
struct codes {
	uint16_t count[LONGEST_CODE + 1];
	uint16_t symbol[LITERALS];
};

/* The next bits, the first one lowest; at most 16. 0 once the stream has ended too early. */
static uint32_t take(struct stream *stream, int count)
{
	uint32_t value;

	while (stream->bit_count < count) {
		if (stream->in_left == 0) {
			stream->is_damaged = true;
			return 0;
		}
		stream->bits |= (uint32_t)*stream->in++ << stream->bit_count;
		stream->in_left--;
		stream->bit_count += 8;
	}
	value = stream->bits & ((1u << count) - 1);
	stream->bits >>= count;
	stream->bit_count -= count;
	return value;
}

static void make_codes(struct codes *codes, const uint8_t *lengths, int symbols)
{
	uint16_t next[LONGEST_CODE + 2] = { 0 };

	for (int length = 0; length <= LONGEST_CODE; length++)
		codes->count[length] = 0;
	for (int symbol = 0; symbol < symbols; symbol++)
		codes->count[lengths[symbol]]++;
	codes->count[0] = 0;
	for (int length = 1; length <= LONGEST_CODE; length++)
		next[length + 1] = next[length] + codes->count[length];
	for (int symbol = 0; symbol < symbols; symbol++)
		if (lengths[symbol] != 0)
			codes->symbol[next[lengths[symbol]]++] = (uint16_t)symbol;
}

/* Codes come with their highest bit first. Those of one length follow each other, behind all shorter ones. */
static int decode(struct stream *stream, const struct codes *codes)
{
	int code = 0, first = 0, index = 0;

	for (int length = 1; length <= LONGEST_CODE && !stream->is_damaged; length++) {
		int count = codes->count[length];

		code |= (int)take(stream, 1);
		if (code - first < count)
			return codes->symbol[index + code - first];
		index += count;
		first = (first + count) << 1;
		code <<= 1;
	}
	stream->is_damaged = true;
	return END_OF_BLOCK;
}

/* Section 3.2.5. The last length has no extra bits. */
static int read_length(struct stream *stream, int symbol)
{
	static const uint16_t base[] = { 3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
					 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
	int at = symbol - FIRST_LENGTH;

	if (at >= (int)(sizeof(base) / sizeof(*base))) {
		stream->is_damaged = true;
		return 0;
	}
	return base[at] + (int)take(stream, at < 8 || at == 28 ? 0 : at / 4 - 1);
}

static size_t read_distance(struct stream *stream, int symbol)
{
	int extra = symbol / 2 - 1;

	if (symbol >= 30)
		stream->is_damaged = true;
	if (symbol < 4 || stream->is_damaged)
		return (size_t)symbol + 1;
	return ((size_t)(2 + symbol % 2) << extra) + 1 + take(stream, extra);
}

static void put(struct stream *stream, uint8_t byte)
{
	if (stream->out_at == stream->out_size)
		stream->is_damaged = true;
	else
		stream->out[stream->out_at++] = byte;
}

static void copy(struct stream *stream, size_t distance, int length)
{
	if (distance > stream->out_at)
		stream->is_damaged = true;
	for (; length > 0 && !stream->is_damaged; length--)
		put(stream, stream->out[stream->out_at - distance]);
}

static void read_block(struct stream *stream, const struct codes *literals, const struct codes *distances)
{
	while (!stream->is_damaged) {
		int symbol = decode(stream, literals), length;

		if (symbol == END_OF_BLOCK)
			return;
		if (symbol < END_OF_BLOCK) {
			put(stream, (uint8_t)symbol);
			continue;
		}
		length = read_length(stream, symbol);
		copy(stream, read_distance(stream, decode(stream, distances)), length);
	}
}

/* Section 3.2.6. */
static void read_fixed_block(struct stream *stream)
{
	struct codes literals, distances;
	uint8_t lengths[LITERALS];

	for (int symbol = 0; symbol < LITERALS; symbol++)
		lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
	make_codes(&literals, lengths, LITERALS);
	for (int symbol = 0; symbol < DISTANCES; symbol++)
		lengths[symbol] = 5;
	make_codes(&distances, lengths, DISTANCES);
	read_block(stream, &literals, &distances);
}

/* Section 3.2.7: lengths of codes, themselves in codes whose lengths come first. */
static void read_dynamic_block(struct stream *stream)
{
	static const uint8_t order[] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	uint8_t lengths[LITERALS + DISTANCES] = { 0 };
	struct codes literals, distances;
	int literal_count = (int)take(stream, 5) + FIRST_LENGTH, distance_count = (int)take(stream, 5) + 1;
	int code_count = (int)take(stream, 4) + 4;

	if (literal_count > LITERALS) {
		stream->is_damaged = true;
		return;
	}
	for (int at = 0; at < code_count; at++)
		lengths[order[at]] = (uint8_t)take(stream, 3);
	make_codes(&literals, lengths, sizeof(order));
	for (int at = 0; at < literal_count + distance_count && !stream->is_damaged;) {
		int symbol = decode(stream, &literals), repeats = 1;
		uint8_t length = (uint8_t)symbol;

		if (symbol == 16) {
			length = at > 0 ? lengths[at - 1] : 0;
			repeats = 3 + (int)take(stream, 2);
		} else if (symbol > 16) {
			length = 0;
			repeats = symbol == 17 ? 3 + (int)take(stream, 3) : 11 + (int)take(stream, 7);
		}
		if (symbol > 18 || at + repeats > literal_count + distance_count)
			stream->is_damaged = true;
		else
			for (; repeats > 0; repeats--)
				lengths[at++] = length;
	}
	if (stream->is_damaged)
		return;
	make_codes(&literals, lengths, literal_count);
	make_codes(&distances, lengths + literal_count, distance_count);
	read_block(stream, &literals, &distances);
}

/* Section 3.2.4: whole bytes, behind their number and its complement. */
static void read_stored_block(struct stream *stream)
{
	uint32_t length, complement;

	take(stream, stream->bit_count % 8);
	length = take(stream, 16);
	complement = take(stream, 16);
	if ((length ^ complement) != 0xffff)
		stream->is_damaged = true;
	for (; length > 0 && !stream->is_damaged; length--)
		put(stream, (uint8_t)take(stream, 8));
}

bool host_inflate(const uint8_t *packed, size_t length, uint8_t *out, size_t size)
{
	struct stream stream = { .in = packed, .in_left = length, .out = out, .out_size = size };
	bool is_last = false;

	while (!is_last && !stream.is_damaged) {
		is_last = take(&stream, 1) == 1;
		switch (take(&stream, 2)) {
		case 0:
			read_stored_block(&stream);
			break;
		case 1:
			read_fixed_block(&stream);
			break;
		case 2:
			read_dynamic_block(&stream);
			break;
		default:
			stream.is_damaged = true;
		}
	}
	return !stream.is_damaged && stream.out_at == size;
}
