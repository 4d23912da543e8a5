/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HOST: what this host can do, for a session and for a daemon that is only asked to look.
 */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "call.h"
#include "slot.h"

/* Backends with their lists, pools, names. */
#define HOST_ARENA_SIZE ((size_t)16 * 1024)

#define PAGE_SIZES_MAX 64

static void *alloc_zeroed(struct gm_arena *arena, size_t size)
{
	void *memory = gm_arena_alloc(arena, size);

	return memory != NULL ? memset(memory, 0, size) : NULL;
}

static int fill_page_sizes(struct gm_arena *arena, uint64_t sizes, Gmem__BackendInfo *info)
{
	info->page_sizes = alloc_zeroed(arena, (size_t)PAGE_SIZES_MAX * sizeof(*info->page_sizes));
	if (info->page_sizes == NULL)
		return -ENOMEM;
	for (unsigned bit = 0; bit < PAGE_SIZES_MAX; bit++) {
		if (sizes & (UINT64_C(1) << bit))
			info->page_sizes[info->n_page_sizes++] = UINT64_C(1) << bit;
	}
	return 0;
}

static int fill_capabilities(struct gm_arena *arena, uint64_t caps, Gmem__BackendInfo *info)
{
	info->capabilities =
		alloc_zeroed(arena, (size_t)GM_BACKEND_CAPS_N * sizeof(*info->capabilities));
	if (info->capabilities == NULL)
		return -ENOMEM;
	for (unsigned bit = 0; bit < GM_BACKEND_CAPS_N; bit++) {
		if (caps & (UINT64_C(1) << bit))
			info->capabilities[info->n_capabilities++] =
				gm_bytes(gm_backend_cap_name(bit));
	}
	return 0;
}

static int fill_backend(struct gm_arena *arena, const struct gm_exec_backend *slot,
			Gmem__BackendInfo **ret_info)
{
	Gmem__BackendInfo *info = alloc_zeroed(arena, sizeof(*info));
	int r;

	if (info == NULL)
		return -ENOMEM;
	gmem__backend_info__init(info);
	info->has_kind = 1;
	info->kind = gm_bytes(slot->backend->kind);
	info->has_usable = 1;
	info->usable = slot->probe.usable;
	info->has_reason = 1;
	info->reason = gm_bytes(slot->probe.reason);
	r = fill_page_sizes(arena, slot->probe.page_sizes, info);
	if (r == 0)
		r = fill_capabilities(arena, slot->probe.caps, info);
	*ret_info = info;
	return r;
}

static int fill_backends(struct gm_arena *arena, const struct gm_exec *exec, Gmem__HostReply *reply)
{
	int r = 0;

	reply->backends =
		alloc_zeroed(arena, (size_t)GM_EXEC_BACKENDS_MAX * sizeof(*reply->backends));
	if (reply->backends == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < exec->n_backends && r == 0; i++)
		r = fill_backend(arena, &exec->backends[i], &reply->backends[i]);
	reply->n_backends = exec->n_backends;
	return r;
}

static int fill_pools(struct gm_arena *arena, Gmem__HostReply *reply)
{
	static const uint64_t sizes[] = { GM_PAGE_2M, GM_PAGE_1G };

	reply->pools = alloc_zeroed(arena, GM_ARRAY_SIZE(sizes) * sizeof(*reply->pools));
	if (reply->pools == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < GM_ARRAY_SIZE(sizes); i++) {
		struct gm_huge_pool pool;
		Gmem__HugePagePool *message;

		if (gm_huge_pool_read(sizes[i], &pool) < 0)
			continue;
		message = alloc_zeroed(arena, sizeof(*message));
		if (message == NULL)
			return -ENOMEM;
		gmem__huge_page_pool__init(message);
		message->has_page_size = 1;
		message->page_size = sizes[i];
		message->has_total = 1;
		message->total = pool.total;
		message->has_free = 1;
		message->free = pool.free;
		message->has_reserved = 1;
		message->reserved = pool.reserved;
		reply->pools[reply->n_pools++] = message;
	}
	return 0;
}

static int fill_slots(struct gm_arena *arena, const struct gm_exec *exec, Gmem__HostReply *reply)
{
	reply->slots = alloc_zeroed(arena, GM_SLOTS_N * sizeof(*reply->slots));
	if (reply->slots == NULL)
		return -ENOMEM;
	for (unsigned pool = 0; pool < GM_SLOTS_N; pool++) {
		const struct gm_slot_use use = gm_exec_slot_use(exec, pool);
		Gmem__SlotPool *message = alloc_zeroed(arena, sizeof(*message));

		if (message == NULL)
			return -ENOMEM;
		gmem__slot_pool__init(message);
		message->has_name = 1;
		message->name = gm_bytes(gm_slot_pools[pool].name);
		message->has_capacity = 1;
		message->capacity = use.capacity;
		message->has_used = 1;
		message->used = use.current;
		reply->slots[reply->n_slots++] = message;
	}
	return 0;
}

static int fill_kernel(struct gm_arena *arena, Gmem__HostReply *reply)
{
	struct utsname *name = alloc_zeroed(arena, sizeof(*name));

	if (name == NULL)
		return -ENOMEM;
	if (uname(name) == 0) {
		reply->has_kernel = 1;
		reply->kernel = gm_bytes(name->release);
	}
	return 0;
}

static int fill_nodes(struct gm_arena *arena, uint64_t nodes, Gmem__HostReply *reply)
{
	reply->numa_nodes =
		alloc_zeroed(arena, (size_t)GM_NUMA_NODES_MAX * sizeof(*reply->numa_nodes));
	if (reply->numa_nodes == NULL)
		return -ENOMEM;
	for (uint32_t node = 0; node < GM_NUMA_NODES_MAX; node++) {
		if (nodes & (UINT64_C(1) << node))
			reply->numa_nodes[reply->n_numa_nodes++] = node;
	}
	return 0;
}

static void fill_memory(const struct gm_exec *exec, Gmem__HostReply *reply)
{
	bool known = exec->host_memory != NULL &&
		     exec->host_memory(&reply->memory_total, &reply->memory_available) == 0;

	reply->has_memory_total = known;
	reply->has_memory_available = known;
}

/* A daemon that only looks does not work for anybody. */
static void fill_charge(const struct gm_exec *exec, Gmem__HostReply *reply, char *reason)
{
	if (exec->hub == NULL)
		return;
	reply->has_charged = 1;
	reply->charged = gm_exec_is_charged(exec, reason);
	reply->has_charge_reason = 1;
	reply->charge_reason = gm_bytes(reason);
}

static int fill_host(struct gm_arena *arena, const struct gm_exec *exec, Gmem__HostReply *reply)
{
	char *reason = alloc_zeroed(arena, GM_TEXT_MAX);
	int r;

	if (reason == NULL)
		return -ENOMEM;
	reply->has_kvm = 1;
	reply->kvm = exec->kvm_fd >= 0;
	reply->has_kvm_reason = 1;
	reply->kvm_reason = gm_bytes(exec->kvm_reason);
	fill_memory(exec, reply);
	fill_charge(exec, reply, reason);
	r = fill_backends(arena, exec, reply);
	if (r == 0)
		r = fill_pools(arena, reply);
	if (r == 0)
		r = fill_slots(arena, exec, reply);
	if (r == 0)
		r = fill_kernel(arena, reply);
	if (r == 0)
		r = fill_nodes(arena, exec->numa_nodes, reply);
	return r;
}

int gm_handle_host(struct gm_call *call)
{
	return fill_host(&call->service->arena, call->exec, call->answer);
}

int gm_service_pack_host(const struct gm_exec *exec, void *buffer, size_t *ret_length)
{
	Gmem__HostReply reply = GMEM__HOST_REPLY__INIT;
	struct gm_arena arena;
	int r;

	r = gm_arena_init(&arena, HOST_ARENA_SIZE);
	if (r < 0)
		return r;
	r = fill_host(&arena, exec, &reply);
	if (r == 0)
		r = gm_msg_pack(&reply.base, buffer, ret_length);
	gm_arena_done(&arena);
	return r;
}
