/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kind of guest memory. The only door between the daemon and the kernel's memory interfaces;
 * vendor names stay behind it: what differs between kinds is a capability here.
 *
 * Contract, tested by one suite against every backend that probes true:
 *   - probe explains itself: `reason` is set whether usable or not.
 *   - create returns an fd that is close-on-exec, at least 3, of exactly the size asked for, all
 *     zero, with nothing allocated, and whose size no holder can change.
 *   - verify accepts what create made and nothing else.
 *   - allocate and discard may be called from any process that holds the fd, from many threads at
 *     once on disjoint ranges; both are idempotent; allocate keeps contents; after discard the
 *     range reads as zero. An interrupted call is repeated inside.
 *   - present never counts a page that is not there and misses none that is; it costs no
 *     allocation.
 *   - where hugepages are promised they are reserved: a later touch of any page of the region,
 *     also of a discarded one, cannot fail for want of a hugepage.
 */
#ifndef GM_BACKEND_H
#define GM_BACKEND_H

#include "gm_num.h"
#include "gm_verdict.h"

enum gm_backend_cap {
	GM_CAP_DAEMON_CREATES = 1 << 0,	     /* the daemon makes the fd itself */
	GM_CAP_MAPPABLE = 1 << 1,	     /* a holder may map and touch it */
	GM_CAP_SEALED = 1 << 2,		     /* size fixed by seals */
	GM_CAP_NUMA = 1 << 3,		     /* placement of 4K pages can be bound to nodes */
	GM_CAP_PRIVATE = 1 << 4,	     /* pages can be private to the guest */
	GM_CAP_PROTECTED_STATE = 1 << 5,     /* so are the registers */
	GM_CAP_MIRRORED_PAGE_TABLE = 1 << 6, /* zapping destroys contents */
	/* One file for both: gm_backend::convert makes its pages private or shared. */
	GM_CAP_IN_PLACE_CONVERSION = 1 << 7,
	GM_CAP_DIGEST_BINDS_ADDRESSES = 1 << 8,
	GM_CAP_LAUNCH = 1 << 9,		  /* guests run after a launch only: gm_backend::launch */
	GM_CAP_DAEMON_LAUNCHES = 1 << 10, /* and that is the daemon's to carry out */
};

#define GM_BACKEND_CAPS_N 11

/* "daemon-creates", ... for the bit number @bit below GM_BACKEND_CAPS_N; never NULL. */
const char *gm_backend_cap_name(unsigned bit);

struct gm_probe {
	bool usable;
	uint64_t caps;	     /* enum gm_backend_cap bits */
	uint64_t page_sizes; /* sizes or'ed together: each is a power of two */
	char reason[GM_TEXT_MAX];
};

struct gm_backing {
	uint64_t size;	    /* multiple of page_size, below 2^52 */
	uint64_t page_size; /* one of probe.page_sizes */
	/*
	 * Bits; 0: anywhere. With GM_CAP_NUMA and 4K pages the file itself is bound. In all other
	 * cases the kernel keeps no policy with the file: only what allocate does in a thread
	 * bound by set_mempolicy(2) is placed.
	 */
	uint64_t numa_nodes;
	/*
	 * Of hugepages on @numa_nodes: bytes that others bound to any of them were promised and do
	 * not have yet. The kernel counts reservations for the whole host, never for a node.
	 */
	uint64_t promised;
	const char *name; /* shown in /proc; names of the name character set, at most 249 bytes */
};

struct gm_backend_state;

struct gm_launch_rules;

/* The private half that the VMM makes on its own VM. */
struct gm_private_half {
	uint32_t vm_type;      /* of the VM */
	uint64_t memory_flags; /* of KVM_CREATE_GUEST_MEMFD */

	/* 0 when @fd is such a file, of that size, and nobody can map it; -EBADF when not. */
	int (*verify)(int fd, uint64_t size);

	/* With GM_CAP_IN_PLACE_CONVERSION, in place of the two above: all of it can be mapped. */
	uint64_t in_place_flags;
	int (*verify_in_place)(int fd, uint64_t size);

	/* As those of struct gm_backend, for this half, under the name by which workers know it. */
	const char *kind;
	int (*present)(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
		       uint64_t *ret_bytes);
};

struct gm_backend {
	const char *kind; /* "memfd" */

	/* With GM_CAP_PRIVATE; NULL without. All else here is then about the shared half. */
	const struct gm_private_half *private_half;

	/* With GM_CAP_LAUNCH. See launch_rules.h. */
	const struct gm_launch_rules *launch;

	/*
	 * Opens what the backend needs (devices, a carrier VM) and finds out what works, by doing
	 * it. Returns 0 also when it is not usable (then *ret_state is NULL); negative only when
	 * the daemon itself is short of something. The state serves the process that opened it,
	 * not its children.
	 */
	int (*open)(struct gm_backend_state **ret_state, struct gm_probe *ret_probe);
	void (*close)(struct gm_backend_state *state); /* accepts NULL */

	/*
	 * Makes the memory. 0 and an fd the caller owns; GM_NO_RESOURCE with numbers where the
	 * host has not got it (hugepages), GM_INVALID where it has not got the nodes, with nothing
	 * left behind; or -errno (-EINVAL: @want breaks the rules of struct gm_backing).
	 */
	int (*create)(struct gm_backend_state *state, const struct gm_backing *want, int *ret_fd,
		      struct gm_refusal *refusal);

	/* 0 when @fd is memory of this kind, size and page size; -EBADF when not. */
	int (*verify)(int fd, uint64_t size, uint64_t page_size);

	/*
	 * In a worker. 0 or -errno; the range is page aligned and inside. Not in one piece for a
	 * caller that wants to be stopped or to report: nothing returns before the range is done.
	 * discard of hugepages gives them back to the host's pool and reserves them anew: -ENOMEM
	 * when another took them in between. Then the range is gone and not reserved: a touch of
	 * it can be a SIGBUS until a discard or allocate of it succeeds.
	 */
	int (*allocate)(int fd, uint64_t offset, uint64_t length);
	int (*discard)(int fd, uint64_t offset, uint64_t length, uint64_t page_size);

	/*
	 * Bytes present in the range now, without changing that: for booking what a worker that
	 * died had done. -EOPNOTSUPP where the kernel does not tell (4K pages before Linux 6.5,
	 * and parts of a region of hugepages unless all or none of it is there).
	 */
	int (*present)(int fd, uint64_t offset, uint64_t length, uint64_t page_size,
		       uint64_t *ret_bytes);

	/*
	 * In a worker, of files that are converted in place; NULL: there are none. Makes all pages
	 * of the range private or shared; what they held is gone, but for what a private page had
	 * before as a shared one. Pages that are so already stay so: it may be repeated. -EAGAIN:
	 * somebody holds pages from *ret_offset on, which is inside the range, and whether those
	 * before it have been converted is unknown. After any other error none has.
	 */
	int (*convert)(int fd, uint64_t offset, uint64_t length, bool to_private,
		       uint64_t *ret_offset);
};

/* All kinds, NULL-ended, in the order in which doctor shows them. */
extern const struct gm_backend *const gm_backends[];

/* NULL for an unknown kind. */
const struct gm_backend *gm_backend_find(const char *kind);

/* By what the kernel calls the file, which no file system is asked for. */
bool gm_is_guest_memfd(int fd);

/* /dev/kvm for VMMs: 0 and an fd, O_RDONLY, that the caller owns; or -errno, *ret_reason set. */
GM_WARN_UNUSED int gm_kvm_device_open(int *ret_fd, char *ret_reason, size_t reason_size);

/* Hugepage pool of the whole host, pages. -ENOENT when the host has no such pool. */
struct gm_huge_pool {
	uint64_t total;
	uint64_t free;
	uint64_t reserved;
};
GM_WARN_UNUSED int gm_huge_pool_read(uint64_t page_size, struct gm_huge_pool *ret_pool);

#endif
