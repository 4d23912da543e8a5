/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans for the daemon: a manifest as lines of text, in a file that has the digest as its name. The
 * daemon reads it when a launch has another digest than was allowed, to tell where it parts.
 */
#ifndef MEASURE_PLAN_FILE_H
#define MEASURE_PLAN_FILE_H

#include "gm_manifest.h"

/* FOLDER/DIGEST, made anew in one piece. 0 or -errno. */
int plan_file_write(const char *folder, const struct gm_manifest *manifest) GM_WARN_UNUSED;

#endif
