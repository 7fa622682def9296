/* Tap devices: rtnetlink can change and remove them, but only /dev/net/tun can create them (drivers/net/tun.c). */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host.h"

static const char device[] = "/dev/net/tun";

/* Reads an id; -1 means none. False if the argument is not a number. */
static bool has_id(JSContext *ctx, JSValueConst value, int64_t *id)
{
	return !JS_ToInt64(ctx, id, value);
}

/* A device that is not persistent yet disappears with its descriptor, so an error leaves nothing behind. */
static const char *make_tap(int fd, struct ifreq *request, int64_t owner, int64_t group)
{
	if (ioctl(fd, TUNSETIFF, request) < 0)
		return "TUNSETIFF";
	if (owner >= 0 && ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0)
		return "TUNSETOWNER";
	if (group >= 0 && ioctl(fd, TUNSETGROUP, (unsigned long)group) < 0)
		return "TUNSETGROUP";
	if (ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return "TUNSETPERSIST";
	return NULL;
}

/* createTap(name, multiple queues?, owner or -1, group or -1) */
static JSValue create_tap(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL };
	JSValue result = JS_UNDEFINED;
	const char *name, *failed;
	int64_t owner, group;
	int fd;

	(void)self, (void)argc;
	if (!has_id(ctx, argv[2], &owner) || !has_id(ctx, argv[3], &group))
		return JS_EXCEPTION;
	if (JS_ToBool(ctx, argv[1]))
		request.ifr_flags |= IFF_MULTI_QUEUE;
	name = host_get_path(ctx, argv[0]);
	if (!name)
		return JS_EXCEPTION;
	if (strlen(name) >= sizeof(request.ifr_name)) {
		result = host_fail(ctx, "TUNSETIFF", name, EINVAL);
		JS_FreeCString(ctx, name);
		return result;
	}
	strcpy(request.ifr_name, name);
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		result = host_fail(ctx, "open", device, errno);
	} else {
		failed = make_tap(fd, &request, owner, group);
		if (failed)
			result = host_fail(ctx, failed, name, errno);
		close(fd);
	}
	JS_FreeCString(ctx, name);
	return result;
}

void host_add_tap(JSContext *ctx, JSValueConst host)
{
	host_add(ctx, host, "createTap", create_tap, 4);
}
