// How work is shared out among threads, whatever does it.
#pragma once

namespace ravine::threads {

// The library behind this interface: "openmp", or "none" where the build found none.
const char* backend();

// How many threads a large piece of work is given.
int count();

// Sets it; 0 goes back to the default: RAVINE_THREADS, or else what the back end offers (OpenMP: OMP_NUM_THREADS, the
// CPUs this process may use, and what threadpoolctl has set).
void set_count(int threads);

using Task = void (*)(void* context, int part);

// Calls task(context, part) once for every part in [0, parts) and returns when all are done. Tasks must not throw.
void run(int parts, Task task, void* context);

template <class Function>
void run(int parts, Function&& function) {
  run(parts, [](void* context, int part) { (*static_cast<Function*>(context))(part); }, &function);
}

}  // namespace ravine::threads
