/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for /dev/kvm, /dev/sev and the firmware behind them, for hosts that have no such
 * processor. It stands behind the symbols open(), ioctl() and fallocate(): who runs on it is not
 * changed, neither the daemon nor the library nor another program.
 *
 * As libgm_platform.so it is preloaded and finds its state by GM_PLATFORM=PATH, which
 * "gm-platform new PATH VERSION" has made. As a static library it is linked into a test, which
 * makes and attaches the state itself. The state is in a file that all processes map: they see one
 * machine with one set of address space ids, key ids and page tables.
 *
 * PATH.d/ has the files that stand for fds, and misc.capacity and misc.current.
 */
#ifndef GM_PLATFORM_H
#define GM_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The versions that differ, oldest first: "6.11", "6.12", "6.16", "6.18", "7.0", "7.2". */
#define GM_PLATFORM_VERSIONS 6
extern const char *const gm_platform_versions[GM_PLATFORM_VERSIONS];

/* A machine whose kernel is of that version, all of it unused. 0 or -errno. */
int gm_platform_new(const char *path, const char *version);
void gm_platform_remove(const char *path);

/* This process runs on it from now on, until detach. 0 or -errno. */
int gm_platform_attach(const char *path);
void gm_platform_detach(void);

/*
 * "KEY=VALUE". Of the machine: sev-asids= sev-es-asids= tdx-keys= in-place=0|1 hash=0|1
 * Faults of what follows, 0: none:
 *	short=N		populating stops after N pages and reports success
 *	interrupt=N	a signal comes after N pages, once
 *	busy=N		the next N firmware commands find it busy
 *	full=0|1	no address space id and no key id is left
 *	correct-cpuid=N	the next N pages of CPUID values are refused and corrected
 *	firmware-error=C the next firmware command fails with this code
 * -EINVAL: no such key or value.
 */
int gm_platform_set(const char *setting);

/* What the firmware has measured for the VM that @fd stands for. Returns its size or -errno. */
#define GM_PLATFORM_DIGEST_MAX 48
int gm_platform_digest(int fd, uint8_t ret_digest[GM_PLATFORM_DIGEST_MAX]);

/* Of the processes' VMs, after what nobody holds any more is freed. */
struct gm_platform_use {
	unsigned n_vms;
	unsigned n_gmems;
	unsigned n_vcpus;
	unsigned sev_used, sev_capacity;
	unsigned sev_es_used, sev_es_capacity;
	unsigned tdx_used, tdx_capacity;
	uint64_t n_assigned; /* pages that belong to a guest by RMP or secure EPT */
	uint64_t n_calls;    /* requests that the model has answered */
};
int gm_platform_get_use(struct gm_platform_use *ret_use);

/* For people: machine, VMs, their state and digests. */
int gm_platform_show(FILE *to);

#endif
