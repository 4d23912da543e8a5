/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "backend.h"

static const char *const cap_names[] = {
	"daemon-creates",
	"mappable",
	"sealed",
	"numa",
	"private",
	"protected-state",
	"mirrored-page-table",
	"in-place-conversion",
	"digest-binds-addresses",
	"launch",
	"daemon-launches",
};

static_assert(GM_ARRAY_SIZE(cap_names) == GM_BACKEND_CAPS_N, "a name for each capability");
static_assert(GM_CAP_DAEMON_LAUNCHES == 1 << (GM_BACKEND_CAPS_N - 1), "the last bit");

const char *gm_backend_cap_name(unsigned bit)
{
	return bit < GM_BACKEND_CAPS_N ? cap_names[bit] : "unknown";
}

const struct gm_backend *gm_backend_find(const char *kind)
{
	for (size_t i = 0; gm_backends[i]; i++) {
		if (strcmp(gm_backends[i]->kind, kind) == 0)
			return gm_backends[i];
	}
	return NULL;
}
