/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libgmem: guest memory for virtual machine monitors.
 *
 *     gmem_client *client;
 *     gmem_domain *domain;
 *     gmem_region *region;
 *     void *ram;
 *
 *     gmem_connect(NULL, NULL, &client);
 *     gmem_domain_create(client, &(struct gmem_domain_spec){ .kind = "guest-memfd" }, &domain);
 *     gmem_region_create(domain, &(struct gmem_region_spec){ .size = 256 << 20 }, &region);
 *     gmem_region_map(region, &ram);
 *
 * Returns: 0, or a negative enum gmem_status; gmem_error() tells the rest. Output arguments are
 * written on success only. Strings are NUL-ended; sizes and offsets are bytes.
 *
 * Threads: a client and everything that comes from it may be used by one thread at a time; two
 * clients are independent. There are no globals, no signals and no threads in the library; SIGPIPE
 * is never raised. Handles belong to the client: gmem_disconnect frees those still alive.
 *
 * Callbacks run inside gmem_dispatch and inside calls that wait for the daemon. They may call
 * everything but gmem_disconnect. A callback may destroy a handle; a call that was at work on it
 * then fails.
 *
 * When the daemon goes away, the client connects again, repeats what was not answered, and goes on:
 * a call under way takes longer, and returns what it would have returned. Mapped memory is not
 * touched by it.
 *
 * A failed call leaves the client usable, with two exceptions: after GMEM_DISCONNECTED (the daemon
 * did not come back in time) and GMEM_PROTOCOL the client has ended, and every later call is
 * GMEM_DISCONNECTED. Mapped memory stays mapped until gmem_disconnect.
 *
 * Ownership: fds that the library shows (gmem_region_fd, gmem_domain_device_fd, gmem_client_fd) are
 * the library's; dup them to keep them. All are close-on-exec. Specs carry their own defaults:
 * a zeroed member asks for the default.
 */
#ifndef GMEM_H
#define GMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define GMEM_VERSION_MAJOR 0
#define GMEM_VERSION_MINOR 1

typedef struct gmem_client gmem_client;
typedef struct gmem_domain gmem_domain;
typedef struct gmem_region gmem_region;
typedef struct gmem_source gmem_source;

/* Negated, these are return values. The positive ones up to 63 are the protocol's codes. */
enum gmem_status {
	GMEM_OK = 0,
	GMEM_NO_SUCH_OBJECT = 1,
	GMEM_INVALID = 2,
	GMEM_UNSUPPORTED = 3,
	GMEM_DENIED = 4,
	GMEM_OVER_LIMIT = 5,
	GMEM_NO_RESOURCE = 6,
	GMEM_WRONG_STATE = 7,
	GMEM_BUSY = 8,
	GMEM_EXISTS = 9,
	GMEM_CANCELLED = 10,
	GMEM_WORKER_LOST = 11,
	GMEM_SHUTTING_DOWN = 12,
	GMEM_FAILED = 13,
	GMEM_DISCONNECTED = 64, /* no daemon at the address, or it did not come back in time */
	GMEM_PROTOCOL = 65,	/* the peer does not speak this protocol */
	GMEM_SYSTEM = 66,	/* a system call of this process failed: sys_errno */
	GMEM_AGAIN = 67,	/* nothing to dispatch */
	GMEM_TIMED_OUT = 68	/* no answer in time; what a late answer grants is given back */
};

/* Why the last call on this client failed. Valid until the next call on it. */
struct gmem_error {
	int status;	    /* positive enum gmem_status; 0: the last call succeeded */
	const char *rule;   /* "MemoryMax", "size", ... or "" */
	const char *object; /* "tenant acme", ... or "" */
	uint64_t offset;
	uint64_t limit;
	uint64_t used;
	uint64_t asked;
	int sys_errno;		 /* 0 if none */
	const char *text;	 /* a whole sentence with the numbers in it, never NULL */
	uint32_t firmware_error; /* of the platform, in launches; 0 if none. Its name is in @text */
};

/* @client may be NULL only after gmem_connect failed: see ret_error there. */
const struct gmem_error *gmem_error(const gmem_client *client);

/* "over-limit", ...; for either sign; never NULL. */
const char *gmem_status_name(int status);

/* ---- connection ---- */

struct gmem_connect_spec {
	const char *name; /* of the program, for the daemon's log; default: the process's name */
	/*
	 * For each blocking call but jobs; 0: 10 seconds; -1: none. Time without a connection
	 * does not count.
	 */
	int timeout_ms;
	/*
	 * How long to try to come back when the daemon has gone away; 0: 10 seconds; -1: never.
	 * See gmem_dispatch and GMEM_EVENT_RECONNECTED.
	 */
	int reconnect_ms;
	char *ret_error; /* if not NULL: gets a sentence when gmem_connect fails */
	size_t ret_error_size;
};

/*
 * @address: the path of a daemon's socket; "builtin:" for no daemon at all (memory made in this
 * process, same calls, no limits, nothing survives the process); NULL for $GMEM_ADDRESS, and
 * where that is not set /run/gmemd/default.sock.
 */
int gmem_connect(const char *address, const struct gmem_connect_spec *spec,
		 gmem_client **ret_client);

/*
 * Frees every handle of the client; bound domains end, and where the daemon is away just now, with
 * its return. Accepts NULL.
 */
void gmem_disconnect(gmem_client *client);

/* Name of the tenant ("" on an admin socket, "builtin" without a daemon); is it an admin socket? */
const char *gmem_client_tenant(const gmem_client *client);
int gmem_client_is_admin(const gmem_client *client);

/* Round trip. */
int gmem_ping(gmem_client *client);

/*
 * For event loops: an fd that is readable when gmem_dispatch has something to do. It is an epoll
 * fd: poll it, and do nothing else with it. It stays the same while the client reconnects.
 * gmem_dispatch never blocks; it handles all that has arrived, calling callbacks from within, takes
 * the next step of a reconnection, and returns 0, or -GMEM_AGAIN if there was nothing. When the
 * client has ended it returns -GMEM_DISCONNECTED (the first time perhaps -GMEM_PROTOCOL), and the
 * fd stays readable: take it out of the loop.
 */
int gmem_client_fd(const gmem_client *client);
int gmem_dispatch(gmem_client *client);

enum gmem_event_type {
	GMEM_EVENT_DOMAIN_EVICTED = 1,	  /* ended by an operator, or by token: stop the guest */
	GMEM_EVENT_DOMAIN_TAKEN_OVER = 2, /* by another process with the token */
	GMEM_EVENT_SHUTDOWN = 3,	  /* the daemon stops in value milliseconds */
	GMEM_EVENT_DISCONNECTED = 4,	  /* the last one: the daemon did not come back in time */
	/*
	 * There is a connection again. Value 1: to the same session. Value 0: to a new session;
	 * persistent domains have been attached again. DOMAIN_LOST follows for each domain that
	 * could not be kept; in the same session that is one that was taken or ended while the
	 * daemon could not tell.
	 */
	GMEM_EVENT_RECONNECTED = 5,
	GMEM_EVENT_DOMAIN_LOST = 6 /* value: enum gmem_loss. Its mappings stay: stop the guest */
};

/* Why a domain could not be kept. */
enum gmem_loss {
	/* The daemon has it no more: it was bound, its time was over, or it was evicted. */
	GMEM_LOSS_ENDED = 1,
	GMEM_LOSS_TAKEN = 2, /* another process has attached to it meanwhile */
	GMEM_LOSS_MEMORY = 3 /* a region is gone, or is no longer the memory that is mapped here */
};

/* @domain is NULL for events that are not about one. Called from gmem_dispatch or a blocking call.
 */
typedef void (*gmem_event_fn)(void *arg, int type, gmem_domain *domain, uint64_t value);
void gmem_client_on_event(gmem_client *client, gmem_event_fn fn, void *arg);

/* ---- domains ---- */

#define GMEM_TOKEN_SIZE 32
#define GMEM_DEVICE_KVM (1u << 0)

#define GMEM_DOMAIN_PERSISTENT (1u << 0) /* survives this process; come back with the token */

struct gmem_domain_spec {
	const char *kind; /* "memfd", "guest-memfd", "sw-protected"; default "memfd" */
	const char *name; /* unique in the tenant; default none */
	uint32_t flags;	  /* GMEM_DOMAIN_* */
	uint32_t devices; /* GMEM_DEVICE_*: wanted with it */
	const char *
		slot; /* pool of hardware slots, of which the domain is to hold one; default none */
};

/*
 * -GMEM_NO_SUCH_OBJECT: the daemon made it and died before it could say so, and by the time it came
 * back the operator had evicted it.
 */
int gmem_domain_create(gmem_client *client, const struct gmem_domain_spec *spec,
		       gmem_domain **ret_domain);

#define GMEM_ATTACH_TAKE_OVER (1u << 0) /* also from a live process, which is told */

/* A domain of the same tenant, by id and token. Its regions come with it. */
int gmem_domain_attach(gmem_client *client, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE],
		       uint32_t flags, uint32_t devices, gmem_domain **ret_domain);

uint64_t gmem_domain_id(const gmem_domain *domain);

/*
 * The secret that gmem_domain_attach wants. Keep it where only the next VMM can read it. All zero
 * with "builtin:", where nothing can be attached to.
 */
void gmem_domain_token(const gmem_domain *domain, uint8_t ret_token[GMEM_TOKEN_SIZE]);

/* An open device, or -1 if it was not asked for. @device: one GMEM_DEVICE_ bit. */
int gmem_domain_device_fd(const gmem_domain *domain, uint32_t device);

/*
 * By @bytes more than it had of its own accord may this process lock memory (RLIMIT_MEMLOCK), for
 * as long as it has the domain: in place of what the domain had been granted before. The grants of
 * several domains add up. *ret_limit (may be NULL): the soft limit from now on; UINT64_MAX: none.
 */
int gmem_domain_set_memlock(gmem_domain *domain, uint64_t bytes, uint64_t *ret_limit);

/* Regions by address, lowest first; NULL past the end. */
gmem_region *gmem_domain_region(const gmem_domain *domain, size_t index);

/* Ends the domain and frees the handle with those of its regions, whatever it returns. */
int gmem_domain_destroy(gmem_domain *domain);

/* Ends a domain that no handle is attached to. */
int gmem_domain_destroy_id(gmem_client *client, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE]);

/* ---- regions ---- */

struct gmem_region_spec {
	uint64_t gpa; /* guest-physical address of the first byte */
	uint64_t size;
	uint64_t page_size;  /* 0: the kind's smallest; 2 MiB, 1 GiB */
	const char *name;    /* default none */
	uint64_t numa_nodes; /* one bit a node; 0: anywhere */
};

int gmem_region_create(gmem_domain *domain, const struct gmem_region_spec *spec,
		       gmem_region **ret_region);

uint64_t gmem_region_id(const gmem_region *region);
uint64_t gmem_region_gpa(const gmem_region *region);
uint64_t gmem_region_size(const gmem_region *region);
uint64_t gmem_region_page_size(const gmem_region *region);
int gmem_region_fd(const gmem_region *region);

/* Maps all of it, shared, readable and writable; once: a second call gives the same address. */
int gmem_region_map(gmem_region *region, void **ret_address);

/* Ends the region, unmaps it and frees the handle, whatever it returns. */
int gmem_region_destroy(gmem_region *region);

struct gmem_range {
	uint64_t offset;
	uint64_t length;
};

/* From gmem_dispatch or a blocking call, now and then while a job runs. Return nonzero to cancel
 * it. */
typedef int (*gmem_progress_fn)(void *arg, uint64_t done, uint64_t total);

/*
 * Allocate: every page of the ranges is there when this returns 0 (no later fault can fail).
 * Discard: the pages are given back and read as zero. No range (n_ranges 0): the whole region.
 * Ranges are page-aligned and disjoint; at most 1024 in one call. Blocks until done, without a
 * time limit. @progress may be NULL.
 */
int gmem_region_allocate(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			 gmem_progress_fn progress, void *arg);
int gmem_region_discard(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			gmem_progress_fn progress, void *arg);

/*
 * The same without blocking: the answer comes from gmem_dispatch. @done gets the status (as a
 * return value) and the bytes dealt with, as far as known; gmem_error is valid inside it. It is
 * called exactly once for each start that returned 0: at the latest, with -GMEM_CANCELLED, by
 * gmem_disconnect, and never from within the start itself. @callbacks is copied.
 */
typedef void (*gmem_done_fn)(void *arg, int status, uint64_t bytes);
struct gmem_job_callbacks {
	gmem_progress_fn progress; /* may be NULL */
	gmem_done_fn done;	   /* may be NULL */
	void *arg;
};
int gmem_region_allocate_start(gmem_region *region, const struct gmem_range *ranges,
			       size_t n_ranges, const struct gmem_job_callbacks *callbacks);
int gmem_region_discard_start(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			      const struct gmem_job_callbacks *callbacks);

/* ---- private memory ---- */

/*
 * In kinds with private memory each address has two halves: a shared one, which is gmem_region_fd
 * and can be mapped, and a private one, which the guest alone can read. The private half is made on
 * the program's VM and works on no other, so the domain has to know it. At first all is private.
 *
 *     int vm = ioctl(gmem_domain_device_fd(domain, GMEM_DEVICE_KVM), KVM_CREATE_VM, type);
 *
 *     gmem_vm_adopt(domain, vm);
 *     gmem_region_create(domain, &(struct gmem_region_spec){ .size = 256 << 20 }, &region);
 *     gmem_region_bind(region, 0);
 *     ...
 *     if (ioctl(vcpu, KVM_RUN, 0) < 0 && errno == EFAULT)
 *         r = gmem_handle_memory_fault(domain, run);
 *     else if (run->exit_reason == KVM_EXIT_HYPERCALL)
 *         r = gmem_handle_map_gpa_range(domain, run);
 *
 * Where the kernel converts memory in place the two halves are one file, which is gmem_region_fd.
 * The daemon converts it, and the program does nothing. A private page of it cannot be touched
 * (SIGBUS); what a page holds after it was converted is undefined. A page that somebody holds, as a
 * device with DMA does, cannot be made private: BUSY, after 5 s.
 */

/*
 * @vm_fd stays the program's: it is not sent to the daemon, and must be open for as long as the
 * domain has regions. To be called before the first region is made. In kinds without private memory
 * it changes nothing.
 */
int gmem_vm_adopt(gmem_domain *domain, int vm_fd);

/*
 * Puts both halves at the region's address into memslot @slot of the VM, all of it private; maps
 * the shared half if that has not been done. gmem_region_destroy takes the memslot out again.
 */
int gmem_region_bind(gmem_region *region, uint32_t slot);

/*
 * Makes ranges of a bound region shared or private. @to: GMEM_PAGE_SHARED or GMEM_PAGE_PRIVATE.
 * Pages that change lose their contents, and in two halves read as zero; those that are so already
 * keep them.
 * Ranges as for gmem_region_allocate. After a failure the first of them, in order of their offsets,
 * may have been converted: gmem_get_page_map tells.
 */
int gmem_region_convert(gmem_region *region, const struct gmem_range *ranges, size_t n_ranges,
			int to);

struct kvm_run;

/*
 * KVM_RUN has failed with EFAULT: the guest touched a page the other way than it is. Converts it,
 * if the host's policy has nothing against that: 0, and the vCPU can go on where it was. Otherwise
 * it cannot: UNSUPPORTED where the exit is not KVM_EXIT_MEMORY_FAULT, INVALID for an address
 * outside of the domain's regions, or what the daemon refused.
 */
int gmem_handle_memory_fault(gmem_domain *domain, struct kvm_run *run);

/*
 * The guest left with KVM_EXIT_HYPERCALL to say how it wants its pages (KVM_HC_MAP_GPA_RANGE).
 * Whatever this returns, the guest has its answer in @run, and the vCPU can go on: where the pages
 * were not converted, its call fails. UNSUPPORTED, and no answer, for another exit.
 */
int gmem_handle_map_gpa_range(gmem_domain *domain, struct kvm_run *run);

/* ---- launches ---- */

/*
 * Guests of kinds whose memory the platform measures and encrypts are launched before they run. In
 * this order, with what differs between platforms in gmem_kinds.h:
 *
 *     struct gmem_domain_spec spec = { .kind = "...", .devices = GMEM_DEVICE_KVM };
 *
 *     gmem_domain_create(client, &spec, &domain);
 *     vm = ioctl(gmem_domain_device_fd(domain, GMEM_DEVICE_KVM), KVM_CREATE_VM, type);
 *     gmem_vm_adopt(domain, vm);
 *     gmem_launch_start(domain, &parameters, sizeof(parameters));
 *     gmem_region_create(domain, &ram, &region);
 *     gmem_region_bind(region, 0);
 *     gmem_source_create(domain, firmware, firmware_size, &source);
 *     gmem_region_populate(region, &(struct gmem_population){ .offset = ..., .source = source });
 *     ...vCPUs are made, and their registers set...
 *     gmem_launch_finish(domain, &(struct gmem_launch_end){ .vcpus = { ... } });
 *
 * The daemon decides each step and predicts the digest; this library does the step on the program's
 * VM and reports. A step that fails ends the launch: nothing that has been measured can be taken
 * back, and only gmem_domain_destroy is left. What the kernel or the firmware refused is
 * GMEM_FAILED with the rule "firmware" (GMEM_NO_RESOURCE where the host has no room for another
 * guest), on every kernel, with the firmware's code by its name in the text.
 */

/*
 * Kinds with the capability "daemon-launches" the daemon launches on a VM of its own: the calls and
 * their order are the same, but for gmem_region_bind (map the region, and put it into a memslot).
 * The adopted VM, of the kind's type, takes over what was launched in gmem_launch_finish; where
 * registers are measured, it has as many vCPUs by then as @vcpus says.
 */

/* @parameters: the kind's struct of gmem_kinds.h. A VM has been adopted that has no vCPUs yet. */
int gmem_launch_start(gmem_domain *domain, const void *parameters, size_t size);

/*
 * Kinds that populate by a vCPU: @vcpu_fd is one of the adopted VM, ready for it. It stays the
 * program's and must be open until the launch is finished. For the others it changes nothing.
 */
int gmem_launch_set_vcpu(gmem_domain *domain, uint32_t index, int vcpu_fd);

/*
 * What is to be put into the guest. Nobody can change it any more: the daemon hashes what the
 * firmware gets. At most 16 in a domain; the handle is the domain's, and is gone once the launch is
 * finished or aborted.
 *
 * create: a copy of @data, with zeros up to the end of its last page.
 * from_fd: a memfd of whole pages with F_SEAL_WRITE, F_SEAL_SHRINK and F_SEAL_GROW; @fd stays the
 * program's, and may be closed.
 */
int gmem_source_create(gmem_domain *domain, const void *data, size_t size,
		       gmem_source **ret_source);
int gmem_source_from_fd(gmem_domain *domain, int fd, gmem_source **ret_source);

enum gmem_page_type {
	GMEM_PAGE_TYPE_NORMAL = 1,     /* from a source, or from itself (below), measured */
	GMEM_PAGE_TYPE_ZERO = 2,       /* zeros; that they are is measured */
	GMEM_PAGE_TYPE_UNMEASURED = 3, /* from a source, which is not measured */
	GMEM_PAGE_TYPE_SECRETS = 4,    /* the firmware writes it */
	GMEM_PAGE_TYPE_CPUID = 5 /* from a source, which the firmware checks and does not measure */
};

struct gmem_population {
	uint64_t offset;	  /* in the region; whole pages */
	uint64_t length;	  /* 0: what the source has from source_offset on */
	enum gmem_page_type type; /* 0: normal */
	gmem_source *source;	  /* NULL where the type has none */
	uint64_t source_offset;
	/*
	 * GMEM_PAGE_TYPE_CPUID: the firmware may not like the values, and correct them. The guest
	 * then has the corrected ones: *ret_corrected is 1, otherwise 0, and @ret_page (length
	 * bytes) gets what the guest has. Both may be NULL.
	 */
	int *ret_corrected;
	void *ret_page;
};

/*
 * Puts pages into the guest, each at most once, in the order of the calls: that is what is
 * measured. The region is bound. Blocks until the pages are hashed and in, without a time limit.
 *
 * Normal pages without a source: where memory is converted in place, and the pages are shared, what
 * the program has written there goes in. Such a launch has a digest that the daemon cannot predict,
 * and is refused where the host's policy has MeasurementAllow= or RequireIdBlock=.
 */
int gmem_region_populate(gmem_region *region, const struct gmem_population *what);

enum gmem_vcpus_how {
	GMEM_VCPUS_UNKNOWN = 0, /* the digest cannot be predicted, if they are in it */
	GMEM_VCPUS_MODEL = 1,	/* as a known VMM leaves them after reset */
	GMEM_VCPUS_PAGES = 2	/* as these pages of a source have them */
};

/* What the vCPUs' registers hold, on platforms that measure them. */
struct gmem_vcpus {
	enum gmem_vcpus_how how;
	uint32_t count;
	const char *vmm;     /* MODEL: "qemu", ...; and those down to features */
	uint32_t signature;  /* EAX of CPUID leaf 1 */
	uint64_t entry;	     /* where all but the first begin */
	uint64_t features;   /* as in the parameters of the start */
	gmem_source *source; /* PAGES: one page for each vCPU, in the order of their making */
	uint64_t source_offset;
};

#define GMEM_ID_BLOCK_SIZE 96
#define GMEM_ID_AUTH_SIZE 4096
#define GMEM_HOST_DATA_SIZE 32

struct gmem_launch_end {
	struct gmem_vcpus vcpus;
	const void *id_block;  /* GMEM_ID_BLOCK_SIZE bytes, with id_auth; or NULL */
	const void *id_auth;   /* GMEM_ID_AUTH_SIZE bytes */
	const void *host_data; /* GMEM_HOST_DATA_SIZE bytes, or NULL */
};

/*
 * The end of the launch: the daemon compares the digest with what the host's policy allows, and
 * only then is the firmware asked. The guest may run afterwards. @end may be NULL.
 */
int gmem_launch_finish(gmem_domain *domain, const struct gmem_launch_end *end);

/* The launch is given up: only gmem_domain_destroy is left. */
int gmem_launch_abort(gmem_domain *domain);

/* ---- looking ---- */

#define GMEM_MEASUREMENT_MAX 48

struct gmem_domain_info {
	uint64_t id;
	char name[65];
	char kind[33];
	char tenant[65]; /* admin sockets only, else "" */
	int persistent;
	int attached;
	uint32_t owner_pid;
	uint32_t owner_uid;
	uint32_t regions;
	uint64_t reserved_bytes;
	uint64_t allocated_bytes; /* by the daemon, and not discarded */
	uint64_t shared_bytes;	  /* of these: in the shared half */
	uint64_t private_bytes;	  /* the rest */
	uint64_t orphan_ttl_ms;	  /* UINT64_MAX: no end */
	uint64_t age_ms;
	int quarantined; /* a restart of gmemd has not found it as it was: destroy it */
	char slot[33];	 /* the pool of hardware slots that it holds one of, or "" */
	/*
	 * From gmem_get_domain, while it is attached: who pays, a control group, with all the
	 * memory that it has. "": not known. 0 bytes and no limit: the group has no figures of
	 * its own.
	 */
	char cgroup[201];
	uint64_t observed_bytes;
	uint64_t observed_limit; /* UINT64_MAX: none */
	uint64_t memlock_bytes;
	int in_place;	 /* its memory is one file for each region, which is converted in place */
	char launch[17]; /* "ready", "open", "running", "failed", ...; "" for kinds without one */
	/*
	 * From gmem_get_domain, once the launch has started: the digest so far, or of the whole
	 * launch when that is over; or why nobody can know it.
	 */
	uint32_t measurement_size;
	uint8_t measurement[GMEM_MEASUREMENT_MAX];
	char measurement_reason[201];
};

struct gmem_region_info {
	uint64_t id;
	uint64_t domain;
	char name[65];
	char tenant[65];
	uint64_t gpa;
	uint64_t size;
	uint64_t page_size;
	uint64_t allocated_bytes;
	uint64_t shared_bytes;
	uint64_t private_bytes;
	uint64_t page_map_bytes;
	uint32_t jobs;
	uint64_t numa_nodes;
	int quarantined; /* as of a domain: its memory cannot be had any more from gmemd */
	int bound;	 /* a VM has it: kinds with private memory */
	char step[33];	 /* "bind", "populate", ...: the VMM has yet to report it; or "" */
};

struct gmem_usage {
	char resource[33];
	uint64_t used;
	uint64_t limit; /* UINT64_MAX: none */
};

#define GMEM_USAGE_MAX 16

struct gmem_account_info {
	char name[65]; /* "host" or a tenant */
	uint32_t n_usage;
	struct gmem_usage usage[GMEM_USAGE_MAX];
	uint64_t allocated_bytes;
	uint64_t shared_bytes;
	uint64_t private_bytes;
	uint64_t observed_bytes; /* in the control groups of its VMMs; 0: not known, or not asked
				  * for this account alone */
	uint64_t requests;
	uint64_t refusals;
	uint64_t violations;
};

struct gmem_count {
	char name[33];
	uint64_t count; /* since the daemon's start */
};

#define GMEM_BUCKETS_MAX 32

/* How long something took. */
struct gmem_histogram {
	char name[33]; /* "grant", "job": from a request's arrival at the daemon to its answer */
	uint32_t n_buckets;
	uint64_t bounds_us[GMEM_BUCKETS_MAX]; /* highest value of each; UINT64_MAX: no bound */
	uint64_t counts[GMEM_BUCKETS_MAX];    /* of each bucket alone */
	uint64_t sum_us;
};

#define GMEM_CODES_MAX 32
#define GMEM_RULES_MAX 128
#define GMEM_NEWS_MAX 32
#define GMEM_HISTOGRAMS_MAX 4

/* An account and what is counted of it; counts that are zero are left out. */
struct gmem_metrics {
	struct gmem_account_info account;
	uint32_t n_codes;
	struct gmem_count codes[GMEM_CODES_MAX]; /* answers: "ok", "over-limit", ... */
	uint32_t n_rules;
	struct gmem_count rules[GMEM_RULES_MAX]; /* refusals: "MemoryMax", "size", ... */
	uint32_t n_news;
	struct gmem_count news[GMEM_NEWS_MAX]; /* by gmem_news_name: "grant", "evict", ... */
	uint32_t n_histograms;
	struct gmem_histogram histograms[GMEM_HISTOGRAMS_MAX];
};

struct gmem_session_info {
	uint64_t id;
	uint32_t pid;
	uint32_t uid;
	char client[65];
	char tenant[65];
	uint32_t domains;
	uint32_t jobs;
};

struct gmem_daemon_info {
	uint64_t uptime_ms;
	uint64_t rss_bytes; /* admin sockets only */
	uint32_t workers;   /* admin sockets only */
};

struct gmem_page_run {
	uint64_t offset;
	uint64_t length;
	int state; /* enum gmem_page_state */
};

enum gmem_page_state {
	GMEM_PAGE_ABSENT = 0,
	GMEM_PAGE_SHARED = 1,
	GMEM_PAGE_PRIVATE = 2,
	GMEM_PAGE_MEASURED = 3,
	GMEM_PAGE_UNMEASURED = 4,
	GMEM_PAGE_LOST = 5
};
/* "absent", ...; never NULL. */
const char *gmem_page_state_name(int state);

#define GMEM_BACKENDS_MAX 8
#define GMEM_POOLS_MAX 4
#define GMEM_SLOTS_MAX 8

struct gmem_backend_info {
	char kind[33];
	int usable;
	uint64_t page_sizes;	/* or'ed together: each is a power of two */
	char capabilities[256]; /* blank-separated names */
	char reason[256];
};

struct gmem_pool_info {
	uint64_t page_size;
	uint64_t total; /* pages */
	uint64_t free;
	uint64_t reserved;
};

/* A pool of hardware slots. */
struct gmem_slot_info {
	char name[33];
	uint64_t capacity; /* 0: this host has none */
	uint64_t used;	   /* by anybody on the host */
};

struct gmem_host_info {
	uint32_t n_backends;
	struct gmem_backend_info backends[GMEM_BACKENDS_MAX];
	uint32_t n_pools;
	struct gmem_pool_info pools[GMEM_POOLS_MAX];
	char kernel[128];
	uint64_t memory_total;
	uint64_t memory_available;
	uint64_t numa_nodes;
	int kvm;
	char kvm_reason[256];
	int charged;		 /* who asks pays for what workers do */
	char charge_reason[256]; /* why, or why not; "": not known, nobody was asked to work */
	uint32_t n_slots;
	struct gmem_slot_info slots[GMEM_SLOTS_MAX];
};

/*
 * Each calls @fn once per object, in order of creation (regions of one domain: by address), when
 * the list is whole; nonzero from @fn ends the walk and is returned if negative. @domain 0: all
 * that the socket may see. Tenants: admin sockets only.
 */
int gmem_list_domains(gmem_client *client,
		      int (*fn)(void *arg, const struct gmem_domain_info *info), void *arg);
int gmem_list_regions(gmem_client *client, uint64_t domain,
		      int (*fn)(void *arg, const struct gmem_region_info *info), void *arg);
int gmem_list_sessions(gmem_client *client,
		       int (*fn)(void *arg, const struct gmem_session_info *info), void *arg);
int gmem_list_accounts(gmem_client *client,
		       int (*fn)(void *arg, const struct gmem_account_info *info), void *arg);

/* The same with counts, in the same order. @tenant: only this one (admin sockets only); or NULL. */
int gmem_list_metrics(gmem_client *client, const char *tenant,
		      int (*fn)(void *arg, const struct gmem_metrics *metrics), void *arg);

int gmem_get_domain(gmem_client *client, uint64_t id, struct gmem_domain_info *ret_info);
int gmem_get_region(gmem_client *client, uint64_t id, struct gmem_region_info *ret_info);
int gmem_get_daemon(gmem_client *client, struct gmem_daemon_info *ret_info);
int gmem_get_host(gmem_client *client, struct gmem_host_info *ret_info);

struct gmem_policy_row {
	char key[64];
	char value[2048];  /* as it would be assigned; "": what an empty assignment stands for */
	char source[1024]; /* "FILE:LINE"; "" for a default */
};

/*
 * Calls @fn for every key of a policy in force; nonzero from @fn ends the walk and is returned if
 * negative. @tenant NULL: that of the socket's tenant, or on the admin socket the host's limits.
 * Only the admin socket may name another.
 */
int gmem_list_policy(gmem_client *client, const char *tenant,
		     int (*fn)(void *arg, const struct gmem_policy_row *row), void *arg);

/*
 * Would a reload of the tenant's files, or with NULL of all files, succeed? 0: yes; 1: no, and
 * @ret_fault, of @size bytes, says why: "FILE:LINE: KEY: REASON". Admin socket only.
 */
int gmem_check_policy(gmem_client *client, const char *tenant, char *ret_fault, size_t size);

/* The page map of a region of this tenant, all of it, in runs. */
int gmem_get_page_map(gmem_client *client, uint64_t region,
		      int (*fn)(void *arg, const struct gmem_page_run *run), void *arg);

/* ---- watching ---- */

enum gmem_news_kind {
	GMEM_NEWS_GRANT = 1,
	GMEM_NEWS_REFUSAL = 2,
	GMEM_NEWS_FAILURE = 3,
	GMEM_NEWS_VIOLATION = 4,
	GMEM_NEWS_DOMAIN = 5,
	GMEM_NEWS_ATTACH = 6,
	GMEM_NEWS_ORPHAN = 7,
	GMEM_NEWS_END = 8,
	GMEM_NEWS_EVICT = 9,
	GMEM_NEWS_JOB = 10,
	GMEM_NEWS_WORKER = 11,
	GMEM_NEWS_QUARANTINE = 12,
	GMEM_NEWS_RELOAD = 13,
	GMEM_NEWS_LOST = 14 /* pages of private memory: nobody knows their state */
};
/* "grant", ...; never NULL. */
const char *gmem_news_name(int kind);

/* What does not apply is 0 or "". */
struct gmem_news {
	int kind;
	uint64_t ms;	 /* since the daemon's start */
	char tenant[65]; /* admin sockets only */
	uint64_t domain;
	uint64_t region;
	char verb[33];
	int status; /* positive enum gmem_status */
	char rule[33];
	uint64_t bytes;
	int has_peer; /* somebody has caused it: */
	uint32_t pid;
	uint32_t uid;
	char client[65];
	char text[513];
	uint64_t lost; /* news before this one that the program was too slow for */
};

/*
 * From now on @fn is told, from gmem_dispatch or a blocking call, what the daemon does: on a
 * tenant's socket for this tenant, on the admin socket for all. Goes on after a reconnection; what
 * happened meanwhile is not told. A second call replaces @fn. UNSUPPORTED with "builtin:".
 */
typedef void (*gmem_news_fn)(void *arg, const struct gmem_news *news);
int gmem_watch(gmem_client *client, gmem_news_fn fn, void *arg);

/* What `gmemd --probe` writes, for a host where no daemon runs. */
int gmem_parse_probe(const void *bytes, size_t length, struct gmem_host_info *ret_info);

/* Admin sockets only: ends any tenant's domain. */
int gmem_evict(gmem_client *client, uint64_t domain, uint64_t *ret_bytes);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
