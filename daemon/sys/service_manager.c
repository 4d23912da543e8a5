/* SPDX-License-Identifier: Apache-2.0 */
#include "service_manager.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "gm_fd.h"

#define STATUS_SIZE 256

/* '@' is in the names that systemd makes of units: "gmemd@acme.socket". */
static bool name_is_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._:-@";
	size_t length = strlen(name);

	return length > 0 && length < sizeof(((struct gm_inherited *)0)->name) &&
	       strspn(name, allowed) == length;
}

static void names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static int take_names(struct gm_inherited *inherited, size_t max, int n, char **names)
{
	if ((size_t)n > max)
		return -E2BIG;
	for (int i = 0; i < n; i++) {
		if (!name_is_valid(names[i]))
			return -EINVAL;
		inherited[i].fd = SD_LISTEN_FDS_START + i;
		memcpy(inherited[i].name, names[i], strlen(names[i]) + 1);
	}
	return n;
}

int gm_inherited_sockets(struct gm_inherited *inherited, size_t max)
{
	char **names = NULL;
	/* Sets close-on-exec on each. */
	int n = sd_listen_fds_with_names(1, &names);
	int r = n <= 0 ? n : take_names(inherited, max, n, names);

	/* The caller cannot own what it has not been told of. */
	if (r < 0)
		for (int i = 0; i < n; i++)
			gm_fd_close(SD_LISTEN_FDS_START + i);
	names_free(names);
	return r;
}

/* Nothing depends on the outcome: without a service manager nobody listens. */
static void notify(const char *message)
{
	(void)sd_notify(0, message);
}

void gm_notify_ready(void)
{
	notify("READY=1");
}

void gm_notify_stopping(void)
{
	notify("STOPPING=1");
}

void gm_notify_watchdog(void)
{
	notify("WATCHDOG=1");
}

void gm_notify_status(const char *format, ...)
{
	char message[STATUS_SIZE] = "STATUS=";
	size_t used = strlen(message);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(message + used, sizeof(message) - used, format, arguments);
	va_end(arguments);
	/* A line end would begin another assignment. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
	notify(message);
}

uint64_t gm_watchdog_interval_ms(void)
{
	uint64_t usec;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	return gm_max_u64(usec / 2000, 1);
}
