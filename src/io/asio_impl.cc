// Asio's own code, compiled once for the whole program.
#include "internal/asio.h"

#include <boost/asio/impl/src.hpp>
