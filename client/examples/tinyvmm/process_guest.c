/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guest.S does, in C on the mapped memory: for hosts where no KVM guest can run.
 */
#include <stdio.h>
#include <string.h>

#include "guest.h"
#include "tinyvmm.h"

static uint32_t load(const struct machine *machine, uint64_t address)
{
	uint32_t value;

	memcpy(&value, (const uint8_t *)machine->ram + address, sizeof(value));
	return value;
}

static void store(const struct machine *machine, uint64_t address, uint32_t value)
{
	memcpy((uint8_t *)machine->ram + address, &value, sizeof(value));
}

static uint64_t page_of_tick(const struct machine *machine, uint32_t tick)
{
	uint32_t pages = (uint32_t)((machine->ram_size - GUEST_RAM_LOW) >> 12);

	return GUEST_RAM_LOW + ((uint64_t)(tick % pages * GUEST_STRIDE % pages) << 12);
}

static int check(const struct machine *machine)
{
	uint32_t counter = load(machine, GUEST_STATE + STATE_COUNTER);
	uint32_t pages = (uint32_t)((machine->ram_size - GUEST_RAM_LOW) >> 12);
	uint32_t checked = 0;

	for (uint32_t tick = counter; tick > 0 && checked < pages; tick--, checked++)
		if (load(machine, page_of_tick(machine, tick)) != (tick ^ GUEST_PATTERN)) {
			printf("guest: my memory is damaged\n");
			return 1;
		}
	printf("guest: my memory is back, counter was %u, pages checked and intact: %u\n", counter,
	       checked);
	return 0;
}

int process_guest_run(struct machine *machine)
{
	uint64_t ticks = 0;

	if (load(machine, GUEST_STATE + STATE_MAGIC) != GUEST_MAGIC) {
		store(machine, GUEST_STATE + STATE_COUNTER, 0);
		store(machine, GUEST_STATE + STATE_MAGIC, GUEST_MAGIC);
		printf("guest: hello, this is a fresh boot\n");
	} else if (check(machine) != 0) {
		return 1;
	}
	for (;;) {
		uint32_t tick = load(machine, GUEST_STATE + STATE_COUNTER) + 1;

		store(machine, page_of_tick(machine, tick), tick ^ GUEST_PATTERN);
		store(machine, GUEST_STATE + STATE_COUNTER, tick);
		printf("guest: tick %u\n", tick);
		(void)fflush(stdout);
		if (machine->ticks != 0 && ++ticks == machine->ticks)
			return 0;
		if (!machine_pause(machine))
			return 1;
	}
}
