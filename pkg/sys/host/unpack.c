/*
 * Unpacks the build's data: raw LZMA (xz --format=raw --lzma1), one stream whose unpacked size is known. LZMA packs
 * bytecode a fifth better than DEFLATE. Follows Igor Pavlov's LZMA specification (public domain) for the parameters
 * lc=3, lp=0, pb=0. The stream is part of this executable, so damage is an error of the build; it is only detected.
 */
#include "host.h"

#include <string.h>

enum {
	LITERAL_BITS = 3,
	STATES = 12,
	FIRST_MATCH_STATE = 7,
	LENGTH_STATES = 4,
	FIRST_SPECIAL_SLOT = 4,
	FIRST_ALIGNED_SLOT = 14,
	ALIGN_BITS = 4,
	FULL_DISTANCES = 1 << 7,
	SHORTEST_MATCH = 2,
	LITERAL_SIZE = 0x300,
	PROBABILITY_BITS = 11,
	ADAPTATION = 5
};

#define HALF (1u << (PROBABILITY_BITS - 1))
#define TOP (1u << 24)

typedef uint16_t probability;

struct lengths {
	probability choice, choice2, low[8], middle[8], high[256];
};

/* All probabilities, which start at one half. The structure is also accessed as an array of them. */
struct model {
	probability is_match[STATES], is_repeat[STATES], is_other[STATES], is_third[STATES], is_fourth[STATES];
	probability is_long[STATES], slot[LENGTH_STATES][64], special[FULL_DISTANCES], align[1 << ALIGN_BITS];
	struct lengths match, repeat;
	probability literal[LITERAL_SIZE << LITERAL_BITS];
};

struct decoder {
	const uint8_t *in;
	size_t in_left;
	uint32_t range, code;
	bool is_damaged;
	struct model model;
};

static uint8_t next_byte(struct decoder *decoder)
{
	if (decoder->in_left == 0) {
		decoder->is_damaged = true;
		return 0;
	}
	decoder->in_left--;
	return *decoder->in++;
}

static void normalize(struct decoder *decoder)
{
	if (decoder->range < TOP) {
		decoder->range <<= 8;
		decoder->code = (decoder->code << 8) | next_byte(decoder);
	}
}

static uint32_t take_bit(struct decoder *decoder, probability *is_zero)
{
	uint32_t bound, bit;

	normalize(decoder);
	bound = (decoder->range >> PROBABILITY_BITS) * *is_zero;
	bit = decoder->code >= bound;
	if (bit) {
		decoder->code -= bound;
		decoder->range -= bound;
		*is_zero -= *is_zero >> ADAPTATION;
	} else {
		decoder->range = bound;
		*is_zero += ((1u << PROBABILITY_BITS) - *is_zero) >> ADAPTATION;
	}
	return bit;
}

/* Reads bits with equal probabilities. */
static uint32_t take_even(struct decoder *decoder, int count)
{
	uint32_t value = 0;

	while (count-- > 0) {
		normalize(decoder);
		decoder->range >>= 1;
		value = (value << 1) | (decoder->code >= decoder->range);
		if (value & 1)
			decoder->code -= decoder->range;
	}
	return value;
}

/* Reads the highest bit first. */
static uint32_t take_tree(struct decoder *decoder, probability *tree, int bits)
{
	uint32_t node = 1;

	for (int i = 0; i < bits; i++)
		node = (node << 1) | take_bit(decoder, &tree[node]);
	return node - (1u << bits);
}

/* Reads the lowest bit first. */
static uint32_t take_reversed(struct decoder *decoder, probability *tree, int bits)
{
	uint32_t node = 1, value = 0;

	for (int i = 0; i < bits; i++) {
		uint32_t bit = take_bit(decoder, &tree[node]);

		node = (node << 1) | bit;
		value |= bit << i;
	}
	return value;
}

static uint32_t take_length(struct decoder *decoder, struct lengths *lengths)
{
	if (!take_bit(decoder, &lengths->choice))
		return take_tree(decoder, lengths->low, 3);
	if (!take_bit(decoder, &lengths->choice2))
		return 8 + take_tree(decoder, lengths->middle, 3);
	return 16 + take_tree(decoder, lengths->high, 8);
}

/* Returns the distance minus one; UINT32_MAX marks the end. */
static uint32_t take_distance(struct decoder *decoder, uint32_t length)
{
	struct model *model = &decoder->model;
	uint32_t state = length < LENGTH_STATES ? length : LENGTH_STATES - 1;
	uint32_t slot = take_tree(decoder, model->slot[state], 6);
	int bits = (int)(slot >> 1) - 1;
	uint32_t distance = (2 | (slot & 1)) << (bits > 0 ? bits : 0);

	if (slot < FIRST_SPECIAL_SLOT)
		return slot;
	if (slot < FIRST_ALIGNED_SLOT)
		return distance + take_reversed(decoder, &model->special[distance - slot], bits);
	distance += take_even(decoder, bits - ALIGN_BITS) << ALIGN_BITS;
	return distance + take_reversed(decoder, model->align, ALIGN_BITS);
}

/* `like` is the byte at the last match distance, or -1 after another literal. */
static uint8_t take_literal(struct decoder *decoder, uint8_t before, int like)
{
	probability *tree = &decoder->model.literal[LITERAL_SIZE * (before >> (8 - LITERAL_BITS))];
	uint32_t node = 1;

	while (like >= 0 && node < 0x100) {
		uint32_t wanted = (like >> 7) & 1, bit = take_bit(decoder, &tree[((1 + wanted) << 8) + node]);

		like <<= 1;
		node = (node << 1) | bit;
		if (bit != wanted)
			break;
	}
	while (node < 0x100)
		node = (node << 1) | take_bit(decoder, &tree[node]);
	return (uint8_t)node;
}

/* Reuses an earlier distance, which becomes the first of the four. False: use the last distance for a single byte. */
static bool take_repeat(struct decoder *decoder, uint32_t state, uint32_t distances[4])
{
	struct model *model = &decoder->model;
	uint32_t distance;
	int chosen = 1;

	if (!take_bit(decoder, &model->is_other[state]))
		return take_bit(decoder, &model->is_long[state]);
	if (take_bit(decoder, &model->is_third[state]))
		chosen = take_bit(decoder, &model->is_fourth[state]) ? 3 : 2;
	distance = distances[chosen];
	memmove(&distances[1], &distances[0], (size_t)chosen * sizeof(*distances));
	distances[0] = distance;
	return true;
}

static void start(struct decoder *decoder, const uint8_t *in, size_t in_length)
{
	probability *all = (probability *)&decoder->model;

	for (size_t i = 0; i < sizeof(decoder->model) / sizeof(*all); i++)
		all[i] = HALF;
	decoder->in = in;
	decoder->in_left = in_length;
	decoder->range = UINT32_MAX;
	/* The first byte is always zero. */
	next_byte(decoder);
	for (int i = 0; i < 4; i++)
		decoder->code = (decoder->code << 8) | next_byte(decoder);
}

bool host_unpack(const uint8_t *in, size_t in_length, uint8_t *out, size_t out_size)
{
	static struct decoder decoder;
	struct model *model = &decoder.model;
	uint32_t state = 0, distances[4] = { 0 }, length;
	size_t at = 0;

	start(&decoder, in, in_length);
	while (at < out_size && !decoder.is_damaged) {
		bool is_behind_match = state >= FIRST_MATCH_STATE;

		if (!take_bit(&decoder, &model->is_match[state])) {
			int like = is_behind_match ? out[at - distances[0] - 1] : -1;

			out[at] = take_literal(&decoder, at > 0 ? out[at - 1] : 0, like);
			at++;
			state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
			continue;
		}
		if (!take_bit(&decoder, &model->is_repeat[state])) {
			memmove(&distances[1], &distances[0], 3 * sizeof(*distances));
			length = take_length(&decoder, &model->match);
			distances[0] = take_distance(&decoder, length);
			state = is_behind_match ? 10 : 7;
		} else if (take_repeat(&decoder, state, distances)) {
			length = take_length(&decoder, &model->repeat);
			state = is_behind_match ? 11 : 8;
		} else {
			/* One byte: less than the shortest match. */
			length = (uint32_t)1 - SHORTEST_MATCH;
			state = is_behind_match ? 11 : 9;
		}
		length += SHORTEST_MATCH;
		if (distances[0] >= at || length > out_size - at)
			return false;
		for (; length > 0; length--, at++)
			out[at] = out[at - distances[0] - 1];
	}
	return at == out_size && !decoder.is_damaged;
}
