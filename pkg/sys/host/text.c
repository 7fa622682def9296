/*
 * TextEncoder and TextDecoder (WHATWG Encoding), UTF-8 only: what the code shared with the daemon uses and QuickJS lacks.
 */
#include <string.h>

#include "host.h"

static JSValue construct(JSContext *ctx, JSValueConst target, int argc, JSValueConst *argv)
{
	JSValue prototype = JS_GetPropertyStr(ctx, target, "prototype");
	JSValue object = JS_NewObjectProto(ctx, prototype);

	JS_FreeValue(ctx, prototype);
	/* new TextDecoder("utf-8", { fatal: true }) */
	if (argc > 1 && JS_IsObject(argv[1]))
		JS_SetPropertyStr(ctx, object, "fatal", JS_GetPropertyStr(ctx, argv[1], "fatal"));
	return object;
}

static JSValue encode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	size_t length;
	const char *text;
	JSValue bytes;

	(void)self;
	if (argc < 1 || JS_IsUndefined(argv[0]))
		return host_new_bytes(ctx, "", 0);
	text = JS_ToCStringLen(ctx, &length, argv[0]);
	if (!text)
		return JS_EXCEPTION;
	bytes = host_new_bytes(ctx, text, length);
	JS_FreeCString(ctx, text);
	return bytes;
}

/* The length of the well-formed sequence at the front (Unicode, table 3-7), 0 when there is none. */
static size_t sequence_length(const uint8_t *bytes, size_t length)
{
	uint8_t first = bytes[0], low = 0x80, high = 0xbf;
	size_t count;

	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		count = 2;
	else if (first >= 0xe0 && first <= 0xef)
		count = 3;
	else if (first >= 0xf0 && first <= 0xf4)
		count = 4;
	else
		return 0;
	if (first == 0xe0)
		low = 0xa0;
	else if (first == 0xed)
		high = 0x9f;
	else if (first == 0xf0)
		low = 0x90;
	else if (first == 0xf4)
		high = 0x8f;
	if (length < count || bytes[1] < low || bytes[1] > high)
		return 0;
	for (size_t i = 2; i < count; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	return count;
}

/* Every byte that belongs to no sequence becomes U+FFFD; with `fatal` it is a TypeError. */
static JSValue decode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	static const char replacement[] = "\xef\xbf\xbd";
	struct host_buffer clean = { 0 };
	const uint8_t *bytes;
	size_t length, at = 0;
	JSValue fatal, text;
	bool is_fatal;

	if (argc < 1 || JS_IsUndefined(argv[0]))
		return JS_NewString(ctx, "");
	if (!host_get_bytes(ctx, argv[0], &bytes, &length))
		return JS_EXCEPTION;
	if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		bytes += 3, length -= 3; /* byte order mark */
	while (at < length) {
		size_t count = sequence_length(bytes + at, length - at);

		if (count == 0)
			break;
		at += count;
	}
	if (at == length)
		return JS_NewStringLen(ctx, (const char *)bytes, length);
	fatal = JS_GetPropertyStr(ctx, self, "fatal");
	is_fatal = JS_ToBool(ctx, fatal);
	JS_FreeValue(ctx, fatal);
	if (is_fatal)
		return JS_ThrowTypeError(ctx, "byte %lld is not UTF-8", (long long)at);
	for (at = 0; at < length;) {
		size_t count = sequence_length(bytes + at, length - at);

		if (!host_buffer_reserve(&clean, 4))
			return JS_ThrowOutOfMemory(ctx);
		memcpy(clean.data + clean.length, count ? (const char *)bytes + at : replacement, count ? count : 3);
		clean.length += count ? count : 3;
		at += count ? count : 1;
	}
	text = JS_NewStringLen(ctx, (const char *)clean.data, clean.length);
	return text;
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
