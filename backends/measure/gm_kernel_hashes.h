/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table by which firmware checks a kernel that was loaded beside it: target/i386/sev.c of QEMU
 * fills it, OvmfPkg/AmdSev/BlobVerifierLibSevHashes of edk2 reads it.
 */
#ifndef GM_KERNEL_HASHES_H
#define GM_KERNEL_HASHES_H

#include "gm_num.h"

#define GM_KERNEL_HASHES_SIZE 176 /* 168, padded to 16 */

struct gm_bytes {
	const uint8_t *bytes; /* NULL: not given, which is not the same as empty everywhere */
	size_t size;
};

struct gm_kernel {
	struct gm_bytes kernel;
	struct gm_bytes initrd;
	struct gm_bytes append; /* without its NUL, which is hashed too */
};

/* What is not given counts as empty. 0 or -ENOMEM. */
int gm_kernel_hashes_build(const struct gm_kernel *kernel,
			   uint8_t ret_table[GM_KERNEL_HASHES_SIZE]) GM_WARN_UNUSED;

#endif
