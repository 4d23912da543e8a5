/* SPDX-License-Identifier: Apache-2.0 */
/* gm-platform: makes, changes and shows a machine. */
#include <stdio.h>
#include <string.h>

#include "gm_platform.h"

static int usage(void)
{
	(void)fputs("usage: gm-platform new PATH VERSION [KEY=VALUE]...\n"
		    "       gm-platform set PATH KEY=VALUE...\n"
		    "       gm-platform show PATH\n"
		    "       gm-platform remove PATH\n",
		    stderr);
	return 2;
}

static int fail(const char *what, int r)
{
	(void)fprintf(stderr, "gm-platform: %s: %s\n", what, strerror(-r));
	return 1;
}

static int set_all(char *const *settings, int n)
{
	for (int i = 0; i < n; i++) {
		int r = gm_platform_set(settings[i]);

		if (r < 0)
			return fail(settings[i], r);
	}
	return 0;
}

int main(int argc, char *argv[])
{
	const char *verb = argc >= 3 ? argv[1] : "";
	bool new = strcmp(verb, "new") == 0;
	int r = 0;

	/* The one that is asked for, whatever the environment names. */
	gm_platform_detach();
	if (strcmp(verb, "remove") == 0) {
		gm_platform_remove(argv[2]);
		return 0;
	}
	if ((new &&argc < 4) || (!new &&strcmp(verb, "set") != 0 && strcmp(verb, "show") != 0))
		return usage();
	if (new)
		r = gm_platform_new(argv[2], argv[3]);
	if (r == 0)
		r = gm_platform_attach(argv[2]);
	if (r < 0)
		return fail(argv[2], r);
	if (strcmp(verb, "show") == 0)
		return gm_platform_show(stdout) < 0;
	return set_all(argv + (new ? 4 : 3), argc - (new ? 4 : 3));
}
