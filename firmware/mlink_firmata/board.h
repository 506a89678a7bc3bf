// The board to build for, chosen by -DBOARD_UNO, -DBOARD_NANO, -DBOARD_MEGA or -DBOARD_LEONARDO.
#pragma once

#if defined(BOARD_UNO) || defined(BOARD_NANO)
#include "boards/uno.h"
#elif defined(BOARD_MEGA)
#include "boards/mega.h"
#elif defined(BOARD_LEONARDO)
#include "boards/leonardo.h"
#else
#error "name a board: -DBOARD_UNO, -DBOARD_NANO, -DBOARD_MEGA or -DBOARD_LEONARDO"
#endif

#ifndef BOARD_USB
#define BOARD_USB 0
#endif
