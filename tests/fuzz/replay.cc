// Stands in for libFuzzer where a build has none: every input of a corpus as it is, then a fixed number of
// changed ones drawn from a seed. The same arguments try the same inputs, so a failure can be repeated.
//   NAME_fuzz CORPUS RUNS [SEED]
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "neap/base/draw.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

constexpr std::size_t kInputBytesMax = 8192;
std::string current;

void tell_input() {
  constexpr std::string_view kHead = "the input that failed follows\n";
  (void)!write(2, kHead.data(), kHead.size());
  (void)!write(2, current.data(), current.size());
  (void)!write(2, "\n", 1);
}
void on_signal(int number) {
  tell_input();
  signal(number, SIG_DFL);
  raise(number);
}

std::vector<std::string> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path());
  std::ranges::sort(names);
  std::vector<std::string> out;
  for (const auto& name : names) {
    std::ifstream file(name, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return out;
}

class Mutator {
 public:
  Mutator(std::vector<std::string> corpus, std::uint64_t seed) : corpus_(std::move(corpus)), draw_(seed) {}
  std::string next() {
    auto out = any();
    for (auto steps = 1 + below(6); steps > 0; --steps) change(out);
    out.resize(std::min(out.size(), kInputBytesMax));
    return out;
  }

 private:
  std::size_t below(std::size_t end) { return end == 0 ? 0 : std::size_t(draw_.below(end)); }
  const std::string& any() { return corpus_[below(corpus_.size())]; }
  std::string slice(const std::string& of) {
    const auto from = below(of.size());
    return of.substr(from, 1 + below(std::min<std::size_t>(64, of.size() - from)));
  }
  void change(std::string& text) {
    static constexpr std::string_view kTelling = "\"'{}[](),:;=!&?/\\%+-.0129eEaz \n\r\t*$~^|<>#@";
    const auto at = below(text.size() + 1);
    switch (below(9)) {
      case 0:
        if (at < text.size()) text[at] = char(text[at] ^ (1u << below(8)));
        break;
      case 1:
        if (at < text.size()) text[at] = char(draw_.bits());
        break;
      case 2:
        if (at < text.size()) text[at] = kTelling[below(kTelling.size())];
        break;
      case 3:
        text.insert(at, 1, kTelling[below(kTelling.size())]);
        break;
      case 4:
        text.erase(at, 1 + below(16));
        break;
      case 5:
        text.insert(at, slice(any()));
        break;
      case 6:
        text.insert(at, slice(text));
        break;
      case 7:
        text.replace(at, 1 + below(16), slice(any()));
        break;
      default:
        text.insert(at, std::string(1 + below(32), text.empty() ? 'x' : text[at % text.size()]));
    }
  }
  std::vector<std::string> corpus_;
  neap::Draw draw_;
};

void try_input(std::string input) {
  current = std::move(input);
  (void)LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: {} CORPUS RUNS [SEED]\n", argv[0]);
    return 2;
  }
  for (const int number : {SIGABRT, SIGTRAP}) signal(number, on_signal);
  if (__sanitizer_set_death_callback)
    __sanitizer_set_death_callback(tell_input);
  else
    signal(SIGSEGV, on_signal);
  const auto corpus = read_corpus(argv[1]);
  if (corpus.empty()) {
    fmt::print(stderr, "{} holds no input\n", argv[1]);
    return 2;
  }
  const auto runs = std::strtoull(argv[2], nullptr, 10);
  const auto seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  for (const auto& input : corpus) try_input(input);
  Mutator mutator(corpus, seed);
  for (std::uint64_t run = 0; run < runs; ++run) try_input(mutator.next());
  fmt::print("{} inputs of the corpus and {} changed ones (seed {}) held\n", corpus.size(), runs, seed);
  return 0;
}
