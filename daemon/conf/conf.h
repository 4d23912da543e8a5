/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files: the [X-Gmemd] section of a unit-style file, with systemd's value syntax.
 *
 *   [X-Gmemd]
 *   Kinds=memfd guest-memfd
 *   MemoryMax=16G
 *   HugePages=2M:8G 1G
 *   PersistentTTL=10min
 *
 * Pure: text in, policy out. Other sections are skipped. Lines end in LF; a trailing backslash
 * continues a line; # and ; start a comment line; an empty assignment resets the key to its
 * default; a list key assigned twice appends.
 */
#ifndef GM_CONF_H
#define GM_CONF_H

#include "policy.h"

/* Largest policy file, bytes. */
#define GM_CONF_TEXT_MAX (256 * 1024)

struct gm_conf_fault {
	unsigned line; /* 1-based, where the assignment starts */
	char key[64];
	char reason[GM_TEXT_MAX];
};

/*
 * Applies @text over @policy, which holds the defaults. @host_memory is what percentages are of.
 * 0, or GM_INVALID with *ret_fault set and @policy untouched: all or nothing.
 */
GM_WARN_UNUSED int gm_conf_parse(const char *text, size_t length, uint64_t host_memory,
				 struct gm_policy *policy, struct gm_conf_fault *ret_fault);

#endif
