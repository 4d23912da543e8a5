/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private memory in tests of libgmem: KVM, played by a function of this file, and what a scripted
 * daemon says about a region with two halves.
 */
#ifndef CLIENT_VM_H
#define CLIENT_VM_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "client_outage.h"
#include "gm_fd.h"

#define PAGE 4096
#define STEP 0x5e
#define VM_FD 1000000 /* no real one has this number */
#define KVM_FD 1000001
#define EXIT_MEMORY_FAULT 39
#define SET_ATTRIBUTES 0x4020aed2U
#define SET_REGION2 0x40a0ae49U
#define CREATE_MEMORY 0xc040aed4U

/* ---- a VM */

struct call {
	unsigned request;
	uint64_t words[6]; /* of its argument */
};

static struct {
	struct call calls[64];
	unsigned n;
	unsigned fail_at; /* the n-th call that changes something fails with EIO; 0: none */
	bool plain;	  /* without private memory */
	int memory;	  /* the last private half, or -1 */
} vm;

static inline int answer_question(unsigned long capability)
{
	if (capability == 233)
		return vm.plain ? 0 : 8;
	return 1;
}

static inline int create_memory(const uint64_t *words)
{
	vm.memory = memfd_create("private", 0);
	assert_return_code(ftruncate(vm.memory, (off_t)words[0]), errno);
	return vm.memory;
}

static inline int vm_ioctl(unsigned request, const void *arg)
{
	struct call *call = &vm.calls[vm.n++];

	assert_true(vm.n < GM_ARRAY_SIZE(vm.calls));
	call->request = request;
	memcpy(call->words, arg, request == SET_ATTRIBUTES ? 32 : sizeof(call->words));
	if (vm.n == vm.fail_at) {
		errno = EIO;
		return -1;
	}
	return request == CREATE_MEMORY ? create_memory(call->words) : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == KVM_GET_API_VERSION && fd == KVM_FD)
		return 12;
	if (request == KVM_CHECK_EXTENSION && (fd == VM_FD || fd == KVM_FD))
		return answer_question((unsigned long)(uintptr_t)arg);
	if (fd == VM_FD && request != KVM_GET_API_VERSION)
		return vm_ioctl((unsigned)request, arg);
	errno = ENOTTY;
	return -1;
}

static inline void check_attributes(unsigned i, uint64_t gpa, uint64_t size, bool is_private)
{
	assert_true(i < vm.n);
	assert_int_equal(vm.calls[i].request, SET_ATTRIBUTES);
	assert_int_equal(vm.calls[i].words[0], gpa);
	assert_int_equal(vm.calls[i].words[1], size);
	assert_int_equal(vm.calls[i].words[2], is_private ? 8 : 0);
}

/* Bytes of a half that are there. */
static inline uint64_t present(int fd)
{
	struct stat status;

	assert_return_code(fstat(fd, &status), errno);
	return (uint64_t)status.st_blocks * 512;
}

static inline void fill(int fd)
{
	assert_return_code(fallocate(fd, 0, 0, SIZE), errno);
}

/* ---- a daemon */

static inline Gmem__Step order(Gmem__StepKind kind)
{
	Gmem__Step step = GMEM__STEP__INIT;

	step.has_step = step.has_kind = step.has_vm_type = true;
	step.step = STEP;
	step.kind = kind;
	step.vm_type = 1;
	return step;
}

static inline void grant_first_half(struct server *server, uint64_t id, uint64_t size)
{
	Gmem__RegionCreateReply reply = GMEM__REGION_CREATE_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_CREATE_MEMORY);
	ProtobufCBinaryData name = bytes_of("memory");
	int fd = server_memory(size);

	server_expect(server, GM_MSG_REGION_CREATE);
	reply.has_region = true;
	reply.region = id;
	reply.fd_names = &name;
	reply.n_fd_names = 1;
	reply.step = &step;
	server_answer(server, &reply.base, &fd, 1);
	gm_fd_close(fd);
}

static inline void await_memory(struct server *server, uint64_t size)
{
	const Gmem__StepMemoryRequest *request;
	struct gm_fd_identity identity;

	server_expect_boxed(server, GM_MSG_STEP_MEMORY);
	request = server->request;
	server_check(server, request->step == STEP, "another step");
	server_check(server,
		     gm_fd_identify(gm_fdset_peek(&server->fds, 0), &identity) == 0 &&
			     identity.size == size,
		     "memory of another size");
}

static inline void take_memory(struct server *server, uint64_t size)
{
	Gmem__StepMemoryReply reply = GMEM__STEP_MEMORY_REPLY__INIT;

	await_memory(server, size);
	server_answer(server, &reply.base, NULL, 0);
}

static inline void order_bind(struct server *server)
{
	Gmem__RegionBindReply reply = GMEM__REGION_BIND_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_BIND);

	server_expect(server, GM_MSG_REGION_BIND);
	reply.step = &step;
	server_answer(server, &reply.base, NULL, 0);
}

static inline void answer_convert(struct server *server)
{
	Gmem__ConvertReply reply = GMEM__CONVERT_REPLY__INIT;
	Gmem__Step step = order(GMEM__STEP_KIND__STEP_CONVERT);

	reply.step = &step;
	server_answer(server, &reply.base, NULL, 0);
}

static inline void order_convert(struct server *server)
{
	server_expect(server, GM_MSG_CONVERT);
	answer_convert(server);
}

static inline void answer_report(struct server *server, uint32_t serial)
{
	Gmem__StepDoneReply reply = GMEM__STEP_DONE_REPLY__INIT;

	server_answer_message(server, GM_MSG_STEP_DONE, serial, &reply.base, NULL, 0);
}

static inline void expect_report(struct server *server, int error, size_t n_ranges, size_t done)
{
	const Gmem__StepDoneRequest *request;

	server_expect(server, GM_MSG_STEP_DONE);
	request = server->request;
	server_check(server, request->step == STEP, "the report of another step");
	server_check(server, request->sys_errno == (uint32_t)error, "another outcome");
	server_check(server, request->n_ranges == n_ranges, "other ranges");
	server_check(server, request->done == done, "another number of ranges done");
}

static inline void take_report(struct server *server, int error, size_t n_ranges, size_t done)
{
	expect_report(server, error, n_ranges, done);
	answer_report(server, server->frame.serial);
}

/* Domain 1 with REGION, which is bound. */
static inline void set_up(struct server *server)
{
	server_grant_domain(server);
	grant_first_half(server, REGION, SIZE);
	take_memory(server, SIZE);
	order_bind(server);
	take_report(server, 0, 0, 0);
}

/* ---- the program */

static inline gmem_domain *open_domain(struct server *server, server_script script,
				       struct seen *seen)
{
	gmem_domain *domain;

	memset(&vm, 0, sizeof(vm));
	vm.memory = -1;
	outage_client(server, script, seen, 5000);
	assert_int_equal(gmem_domain_create(seen->client, NULL, &domain), 0);
	return domain;
}

static inline gmem_region *open_region(gmem_domain *domain, uint64_t gpa)
{
	const struct gmem_region_spec spec = { .gpa = gpa, .size = SIZE };
	gmem_region *region;

	assert_int_equal(gmem_vm_adopt(domain, VM_FD), 0);
	assert_int_equal(gmem_region_create(domain, &spec, &region), 0);
	return region;
}

/* What set_up() grants; nothing of it is left in the VM's list of calls. */
static inline gmem_region *open_bound(struct server *server, server_script script,
				      struct seen *seen)
{
	gmem_region *region = open_region(open_domain(server, script, seen), PAGE);

	assert_int_equal(gmem_region_bind(region, 3), 0);
	vm.n = 0;
	return region;
}

#endif
