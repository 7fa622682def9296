/*
 * TextEncoder and TextDecoder (WHATWG Encoding), UTF-8 only. The code shared with the daemon uses them, and QuickJS
 * lacks them.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host.h"

static bool is_utf8_label(JSContext *ctx, JSValueConst value)
{
	const char *label = JS_IsUndefined(value) ? NULL : JS_ToCString(ctx, value);
	bool is_known = !label || strcasecmp(label, "utf-8") == 0 || strcasecmp(label, "utf8") == 0;

	JS_FreeCString(ctx, label);
	return is_known;
}

static JSValue construct(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv)
{
	JSValue prototype = JS_GetPropertyStr(ctx, target, "prototype");
	JSValue object = JS_NewObjectProto(ctx, prototype);

	JS_FreeValue(ctx, prototype);
	if (argc > 0 && !is_utf8_label(ctx, argv[0])) {
		JS_FreeValue(ctx, object);
		return JS_ThrowRangeError(ctx, "only utf-8 is supported");
	}
	/* new TextDecoder("utf-8", { fatal: true }) */
	if (argc > 1 && JS_IsObject(argv[1]))
		JS_SetPropertyStr(ctx, object, "fatal", JS_GetPropertyStr(ctx, argv[1], "fatal"));
	return object;
}

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/*
 * QuickJS encodes half a surrogate pair like a character of three bytes (ed, a0 to bf, any). U+FFFD also has three
 * bytes.
 */
static void replace_surrogates(uint8_t *bytes, size_t length)
{
	for (size_t at = 0; at + 2 < length; at++)
		if (bytes[at] == 0xed && bytes[at + 1] >= 0xa0)
			memcpy(bytes + at, replacement, 3);
}

static JSValue encode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const uint8_t *bytes;
	size_t length;
	const char *text;
	JSValue result;

	(void)self;
	if (argc < 1 || JS_IsUndefined(argv[0]))
		return host_new_bytes(ctx, "", 0);
	text = JS_ToCStringLen(ctx, &length, argv[0]);
	if (!text)
		return JS_EXCEPTION;
	result = host_new_bytes(ctx, text, length);
	JS_FreeCString(ctx, text);
	if (!JS_IsException(result) && host_get_bytes(ctx, result, &bytes, &length))
		replace_surrogates((uint8_t *)bytes, length);
	return result;
}

/*
 * Returns the length of the well-formed sequence at the start (Unicode, table 3-7). If there is none, returns the
 * length of the longest valid prefix of a sequence, at least one byte.
 */
static size_t sequence_length(const uint8_t *bytes, size_t length, bool *is_whole)
{
	uint8_t first = bytes[0], low = 0x80, high = 0xbf;
	size_t count;

	*is_whole = first < 0x80;
	if (first < 0xc2 || first > 0xf4)
		return 1;
	count = first <= 0xdf ? 2 : first <= 0xef ? 3 : 4;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < count; i++) {
		if (i == length || bytes[i] < low || bytes[i] > high)
			return i;
		low = 0x80, high = 0xbf;
	}
	*is_whole = true;
	return count;
}

/* Returns the number of bytes at the start that are UTF-8. */
static size_t valid_length(const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	while (at < length) {
		bool is_whole;
		size_t count = sequence_length(bytes + at, length - at, &is_whole);

		if (!is_whole)
			break;
		at += count;
	}
	return at;
}

static JSValue decode_leniently(JSContext *ctx, const uint8_t *bytes, size_t length)
{
	struct host_buffer clean = { 0 };
	JSValue text;

	for (size_t at = 0; at < length;) {
		bool is_whole;
		size_t count = sequence_length(bytes + at, length - at, &is_whole);
		size_t written = is_whole ? count : 3;

		if (!host_buffer_reserve(&clean, written)) {
			host_buffer_free(&clean);
			return JS_ThrowOutOfMemory(ctx);
		}
		memcpy(clean.data + clean.length, is_whole ? (const char *)bytes + at : replacement, written);
		clean.length += written;
		at += count;
	}
	text = JS_NewStringLen(ctx, (const char *)clean.data, clean.length);
	host_buffer_free(&clean);
	return text;
}

/* Replaces invalid UTF-8 by U+FFFD, one for each longest prefix of a sequence; with `fatal`, throws a TypeError. */
static JSValue decode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	const uint8_t *bytes;
	size_t length, valid;
	JSValue fatal;
	bool is_fatal;

	if (argc < 1 || JS_IsUndefined(argv[0]))
		return JS_NewString(ctx, "");
	if (!host_get_bytes(ctx, argv[0], &bytes, &length))
		return JS_EXCEPTION;
	if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		bytes += 3, length -= 3; /* byte order mark */
	valid = valid_length(bytes, length);
	if (valid == length)
		return JS_NewStringLen(ctx, (const char *)bytes, length);
	fatal = JS_GetPropertyStr(ctx, self, "fatal");
	is_fatal = JS_ToBool(ctx, fatal);
	JS_FreeValue(ctx, fatal);
	if (is_fatal)
		return JS_ThrowTypeError(ctx, "byte %lld is not UTF-8", (long long)valid);
	return decode_leniently(ctx, bytes, length);
}

static void add_class(JSContext *ctx, JSValueConst global, const char *name, const char *method, JSCFunction *function)
{
	JSValue constructor = JS_NewCFunction2(ctx, construct, name, 0, JS_CFUNC_constructor, 0);
	JSValue prototype = JS_NewObject(ctx);

	host_add(ctx, prototype, method, function, 1);
	JS_SetConstructor(ctx, constructor, prototype);
	JS_FreeValue(ctx, prototype);
	JS_SetPropertyStr(ctx, global, name, constructor);
}

void host_add_text(JSContext *ctx, JSValueConst global)
{
	add_class(ctx, global, "TextEncoder", "encode", encode);
	add_class(ctx, global, "TextDecoder", "decode", decode);
}
