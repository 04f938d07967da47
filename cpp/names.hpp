// Names of what is exported by files that are compiled several times.
#pragma once

#define RAVINE_JOIN_(a, b) a##_##b
#define RAVINE_JOIN(a, b) RAVINE_JOIN_(a, b)
#define RAVINE_QUOTE_(a) #a
#define RAVINE_QUOTE(a) RAVINE_QUOTE_(a)
