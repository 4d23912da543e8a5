/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: what one mapping shares among all processes on it. Plain data, fixed size (a sparse
 * file), no pointers. Everything in it is under its one lock.
 */
#ifndef PLATFORM_STATE_H
#define PLATFORM_STATE_H

/* Contexts that are plain data: a digest goes on in another process. OpenSSL 3 has them still. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "abi.h"
#include "profile.h"

#define GP_VMS 64
#define GP_VCPUS 512
#define GP_GMEMS 512
#define GP_SLOTS 64
#define GP_REGIONS 64
#define GP_CHUNKS 65536
#define GP_CHUNK_PAGES 512
#define GP_NONE UINT32_MAX

/* One byte a page. Of a VM's map, by gfn: */
#define GP_GFN_PRIVATE 1 /* KVM_MEMORY_ATTRIBUTE_PRIVATE of struct kvm's xarray */
#define GP_GFN_MAPPED 2	 /* a leaf of the secure EPT */
/* Of a guest_memfd's map, by page of the file: */
#define GP_PAGE_UPTODATE 1 /* faulted in or populated: folio_test_uptodate */
#define GP_PAGE_ASSIGNED 2 /* its RMP entry is the guest's */
#define GP_PAGE_SHARED 4   /* of the file's own attributes, with in-place conversion */

struct gp_chunk {
	uint32_t next;
	uint32_t used;
	uint64_t base; /* of its first page */
	uint8_t page[GP_CHUNK_PAGES];
};

struct gp_map {
	uint32_t first; /* chunk + 1; 0: none */
	uint32_t last;	/* the one found last, + 1 */
};

struct gp_slot {
	uint32_t used;
	uint32_t id;
	uint32_t flags;
	uint32_t gmem;
	uint64_t gpa;
	uint64_t size;
	uint64_t uaddr;
	uint64_t offset;
};

struct gp_region {
	uint64_t addr;
	uint64_t size;
};

/* The firmware's states of a guest, where GUEST_STATUS tells them: its own numbers. */
enum gp_guest_state {
	GP_GUEST_UNINIT = 0,
	GP_GUEST_UPDATE = 1,
	GP_GUEST_SECRET = 2,
	GP_GUEST_RUNNING = 3,
};

enum gp_pool {
	GP_POOL_SEV,
	GP_POOL_SEV_ES,
	GP_POOL_TDX,
	GP_POOLS
};

struct gp_vm {
	bool used;
	bool dead;    /* vm_dead: every request is EIO */
	bool active;  /* INIT2 or INIT_VM is done: it has an id */
	bool context; /* the firmware has a context of it: LAUNCH_START is done */
	bool finished;
	bool certificates;
	bool broken; /* TDX: a page that was added is gone before the end of the launch */
	uint8_t type;
	uint8_t guest_state;
	uint64_t inode;
	uint64_t owner; /* gp_address_space() of its creator */
	uint32_t pool;
	uint32_t id; /* address space id or key id */
	uint32_t mirror_of;
	uint32_t handle;
	uint32_t n_vcpus;
	int32_t sev_fd; /* the number that LAUNCH_START was given */
	uint64_t policy;
	uint64_t features; /* of vCPUs: SEV_FEATURES */
	uint64_t pages_locked;
	struct gp_slot slots[GP_SLOTS];
	struct gp_region regions[GP_REGIONS];
	struct gp_map map;
	uint8_t chain[SHA384_DIGEST_LENGTH];
	SHA256_CTX sha256;
	SHA512_CTX sha384;
};

struct gp_vcpu {
	bool used;
	bool protected; /* guest_state_protected */
	bool td_ready;	/* KVM_TDX_INIT_VCPU is done */
	uint32_t vm;
	uint32_t id;
	uint32_t sequence; /* kvm_for_each_vcpu goes in the order of creation */
	uint64_t inode;
	uint32_t signature; /* CPUID 1 EAX; 0: not set */
	uint64_t pat;
	uint64_t xcr0;
	uint64_t xss;
	uint64_t tsc_aux;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_debugregs debugregs;
};

struct gp_gmem {
	bool used;
	uint32_t vm;
	uint64_t device;
	uint64_t inode;
	uint64_t size;
	uint64_t flags;
	struct gp_map map;
};

struct gp_faults {
	uint64_t short_after;
	uint64_t interrupt_after; /* + 1; 0: none */
	uint64_t busy;
	uint64_t correct_cpuid;
	uint32_t firmware_error;
	bool full;
};

struct gp_state {
	uint64_t magic;
	pthread_mutex_t lock;
	uint32_t version; /* index into the versions */
	bool in_place;
	bool hash;
	uint64_t device; /* of the folder of files */
	uint64_t kvm_inode;
	uint64_t sev_inode;
	uint32_t capacity[GP_POOLS];
	uint32_t next_handle;
	uint32_t n_chunks; /* that have ever been used */
	uint32_t free_chunk;
	uint64_t n_assigned;
	uint64_t n_calls;
	struct gp_faults faults;
	struct gp_vm vms[GP_VMS];
	struct gp_vcpu vcpus[GP_VCPUS];
	struct gp_gmem gmems[GP_GMEMS];
	struct gp_chunk chunks[GP_CHUNKS];
};

/* shm.c: NULL while this process runs on no machine. */
extern struct gp_state *gp_state;
extern char gp_folder[];

/* Under a filter of its own: it looks after nobody's ids, and copies by itself. */
extern bool gp_is_confined;

void gp_lock(void);
void gp_unlock(void);
const struct gp_profile *gp_profile(void);

/* The caller's address space, as mm_struct is: the same for threads and vfork, new after fork and
 * exec. */
uint64_t gp_address_space(void);

/* map.c */
uint8_t gp_map_get(struct gp_map *map, uint64_t page);
int gp_map_change(struct gp_map *map, uint64_t page, uint64_t n_pages, uint8_t set, uint8_t clear);
void gp_map_clear(struct gp_map *map);
/* Calls @fn for each page in the range that has a bit of @any. */
void gp_map_each(struct gp_map *map, uint64_t page, uint64_t n_pages, uint8_t any,
		 void (*fn)(void *arg, uint64_t page, uint8_t *state), void *arg);

/* user.c: 0 or -EFAULT, as copy_from_user() and copy_to_user(); a fault is never a signal. */
int gp_copy_in(void *to, uint64_t from, size_t size);
int gp_copy_out(uint64_t to, const void *from, size_t size);

/* fd.c */
enum gp_kind {
	GP_FD_OTHER,
	GP_FD_KVM,
	GP_FD_SEV,
	GP_FD_VM,
	GP_FD_VCPU,
	GP_FD_GMEM
};
enum gp_kind gp_fd_find(int fd, uint32_t *ret_index);
int gp_fd_make(const char *name, uint32_t index, uint64_t size, uint64_t *ret_inode);
void gp_fd_read_gmem(uint32_t gmem, uint64_t page, uint8_t bytes[GP_PAGE_SIZE]);
void gp_fd_read_locks(void);
bool gp_fd_is_held(uint64_t device, uint64_t inode); /* when the locks were read */
int gp_fd_real_kvm(void);			     /* an own fd, or -1 */

/* life.c: frees what no process holds any more. */
void gp_reap(void);
void gp_write_misc(void);

/* ids.c */
int gp_id_take(enum gp_pool pool, uint32_t *ret_id);
unsigned gp_id_used(enum gp_pool pool);

/* vm.c, memory.c, attributes.c, vcpu.c: -errno or the result. */
long gp_kvm_request(int fd, unsigned long request, unsigned long arg, bool *ret_passed);
long gp_vm_request(uint32_t vm, unsigned long request, unsigned long arg);
long gp_vcpu_request(uint32_t vcpu, unsigned long request, unsigned long arg);
long gp_gmem_request(uint32_t gmem, unsigned long request, unsigned long arg);
bool gp_vm_has_private(const struct gp_vm *vm);
bool gp_vm_is_sev(const struct gp_vm *vm);
int gp_check_extension(const struct gp_vm *vm, unsigned long capability);
int gp_vcpu_create(uint32_t vm, unsigned long id);
struct gp_vcpu *gp_vcpu_of(uint32_t vm, uint32_t sequence); /* NULL after the last */
int gp_gmem_create(uint32_t vm, unsigned long arg);
int gp_slot_set(uint32_t vm, unsigned long arg, bool second);
struct gp_slot *gp_slot_at(struct gp_vm *vm, uint64_t gfn);
int gp_attributes_set(uint32_t vm, unsigned long arg);
int gp_attributes2_set(uint32_t gmem, unsigned long arg);
bool gp_gfn_is_private(struct gp_vm *vm, const struct gp_slot *slot, uint64_t gfn);
void gp_zap(uint32_t gmem, uint64_t first, uint64_t n_pages);
void gp_gmem_punched(uint32_t gmem, uint64_t offset, uint64_t length);

/* populate.c: kvm_gmem_populate. */
struct gp_source {
	uint64_t addr; /* 0: none */
	bool may_write_back;
};
typedef int (*gp_populate_fn)(uint32_t vm, uint64_t gfn, uint8_t *gmem_page, const uint8_t *bytes,
			      void *arg);
long gp_populate(uint32_t vm, uint64_t gfn, const struct gp_source *source, uint64_t n_pages,
		 gp_populate_fn fn, void *arg);

/* The platforms. */
long gp_encrypt_op(uint32_t vm, unsigned long arg);
long gp_snp_command(uint32_t vm, struct gp_sev_cmd *cmd);
long gp_sev_command(uint32_t vm, struct gp_sev_cmd *cmd);
long gp_tdx_vm_command(uint32_t vm, unsigned long arg);
long gp_tdx_vcpu_command(uint32_t vcpu, unsigned long arg);
long gp_context_take(uint32_t vm, unsigned long capability, uint64_t fd);
long gp_pin(struct gp_vm *vm, uint64_t addr, uint64_t size);
long gp_region_request(uint32_t vm, unsigned long request, unsigned long arg);

/* firmware.c: 0, -EBADF, -EIO with *error; faults that were asked for come first. */
int gp_firmware_call(int sev_fd, uint32_t *error);
int gp_firmware_fail(uint32_t *error, enum gp_firmware code);

/* vmsa.c */
void gp_vmsa_build(const struct gp_vm *vm, const struct gp_vcpu *vcpu, uint8_t page[GP_PAGE_SIZE]);
void gp_vcpu_reset(struct gp_vcpu *vcpu);

/* digest.c */
void gp_snp_extend(struct gp_vm *vm, uint64_t gpa, enum gp_snp_page type, const uint8_t *bytes);
void gp_td_add(struct gp_vm *vm, uint64_t gpa);
void gp_td_extend(struct gp_vm *vm, uint64_t gpa, const uint8_t *bytes);
int gp_digest_now(const struct gp_vm *vm, uint8_t ret_digest[SHA384_DIGEST_LENGTH]);
void gp_sev_measure(const struct gp_vm *vm, uint8_t ret_blob[48]);

/* preload.c: the system calls themselves. */
long gp_real_ioctl(int fd, unsigned long request, unsigned long arg);
int gp_real_open(const char *path, int flags, unsigned mode);

#endif
