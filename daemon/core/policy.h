/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tenant may have: the keys of an [X-Gmemd] section, parsed.
 */
#ifndef GM_POLICY_H
#define GM_POLICY_H

#include "ledger.h"

#define GM_KIND_NAME_MAX 32
#define GM_KINDS_MAX 8

/* Pools of hardware slots (GM_RES_SLOT_0 and on). */
#define GM_SLOT_POOLS 3

#define GM_POLICY_PATH_MAX 199

#define GM_MEASUREMENTS_MAX 16
#define GM_MEASUREMENT_MAX 48

struct gm_measurement {
	uint8_t size;
	uint8_t bytes[GM_MEASUREMENT_MAX];
};

struct gm_policy {
	/* Kinds=: names that may be used; n_kinds 0 with all_kinds set: every kind of the host. */
	bool all_kinds;
	unsigned n_kinds;
	char kinds[GM_KINDS_MAX][GM_KIND_NAME_MAX + 1];

	uint64_t memory_max;		   /* MemoryMax=, bytes */
	uint64_t region_max;		   /* RegionMax=, bytes of one region */
	uint64_t regions_max;		   /* RegionsMax= */
	uint64_t domains_max;		   /* DomainsMax= */
	uint64_t sessions_max;		   /* SessionsMax= */
	uint64_t jobs_max;		   /* JobsMax=, under way at one time */
	uint64_t huge_2m_max;		   /* HugePages=2M[:BYTES], 0: not allowed */
	uint64_t huge_1g_max;		   /* HugePages=1G[:BYTES] */
	uint64_t numa_nodes;		   /* NUMANodes=, one bit a node; all ones: every node */
	bool persistent;		   /* Persistent= */
	uint64_t persistent_ttl_ms;	   /* PersistentTTL=, GM_UNLIMITED: forever */
	uint64_t memlock_max;		   /* MemlockMax=, bytes; 0: not allowed */
	uint64_t slots_max[GM_SLOT_POOLS]; /* one key a pool; 0: not allowed */
	uint64_t requests_rate;		   /* RequestsRate=, a second */
	uint64_t allocate_rate;		   /* AllocateRate=, bytes a second */
	uint64_t workers_max;		   /* WorkersMax=; 0: half of the host's */

	/* Kinds with private memory. */
	uint64_t shared_max;		 /* SharedMax=, bytes of one domain shared at one time */
	uint64_t conversion_rate;	 /* ConversionRate=, ranges in a second */
	uint64_t conversion_granularity; /* ConversionGranularity=, bytes, a power of two */
	bool convert_in_place;		 /* ConvertInPlace=, where the kernel can */
	bool discard_measured;		 /* DiscardMeasured= */

	bool preallocate; /* Preallocate= */

	/* Kinds with a launch. */
	unsigned n_measurements; /* MeasurementAllow=; 0: any */
	struct gm_measurement measurements[GM_MEASUREMENTS_MAX];
	bool require_id_block;			   /* RequireIdBlock= */
	char launch_plans[GM_POLICY_PATH_MAX + 1]; /* LaunchPlans=, a folder; "": none */
};

/* For how long nobody's memory is kept unless the operator says otherwise. */
#define GM_POLICY_TTL_MS (UINT64_C(3600) * 1000)

/*
 * What holds where the operator says nothing: any kind, four fifths of the host's memory, no
 * hugepages (their pool is a choice of the operator, never a default), every node, persistent
 * domains for GM_POLICY_TTL_MS, no locked memory and no hardware slots, any rate, half of the
 * host's workers. @host_memory: bytes of RAM of the host.
 */
void gm_policy_defaults(struct gm_policy *policy, uint64_t host_memory);

/* What leases of the pool are charged as. */
static inline enum gm_resource gm_slot_resource(unsigned pool)
{
	return (enum gm_resource)(GM_RES_SLOT_0 + pool);
}

/* Is this digest among those of MeasurementAllow=, or are all allowed? */
bool gm_policy_allows_measurement(const struct gm_policy *policy, const uint8_t *digest,
				  size_t size);

bool gm_policy_allows_kind(const struct gm_policy *policy, const char *kind);

#endif
