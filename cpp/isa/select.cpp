// Compiled without instruction-set flags: it runs before anybody knows what the machine can do.
#include "isa/select.hpp"

#include <atomic>

#include "choice.hpp"

#if defined(_MSC_VER) && defined(RAVINE_X86_TABLES)
#include <windows.h>
#endif

namespace ravine {
namespace isa {

const Table& table_baseline();
#if defined(RAVINE_X86_TABLES)
const Table& table_avx2();
const Table& table_avx512();
#endif

namespace {

#if defined(RAVINE_X86_TABLES)
#if defined(_MSC_VER)
bool has_avx2() { return IsProcessorFeaturePresent(PF_AVX2_INSTRUCTIONS_AVAILABLE); }
bool has_avx512() { return IsProcessorFeaturePresent(PF_AVX512F_INSTRUCTIONS_AVAILABLE); }
#else
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif
#endif

std::vector<const Table*> tables() {
  std::vector<const Table*> found = {&table_baseline()};
#if defined(RAVINE_X86_TABLES)
  if (has_avx2()) found.push_back(&table_avx2());
  if (has_avx2() && has_avx512()) found.push_back(&table_avx512());
#endif
  return found;
}

std::atomic<const Table*>& current() {
  static std::atomic<const Table*> table = tables().back();
  return table;
}

}  // namespace

std::vector<std::string> available() { return names_of(tables()); }

const Table& active() { return *current().load(std::memory_order_relaxed); }

void use(const std::string& name) { current() = &choose("instruction set", tables(), name); }

}  // namespace isa
}  // namespace ravine
