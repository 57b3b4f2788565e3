#include "session_tail.h"

#include <gtest/gtest.h>

#include "neap/base/json.h"
#include "neap/io/websocket.h"

namespace neap::app {
namespace {

constexpr std::string_view kProtocol = "v5.channel.k8s.io";

std::string frame(std::uint8_t opcode, std::string_view payload) {
  return io::encode_websocket_frame(opcode, payload);
}
std::string part(std::uint8_t opcode, std::string_view payload) {
  auto out = frame(opcode, payload);
  out[0] = char(std::uint8_t(out[0]) & 0x7f);
  return out;
}

std::string said_after(std::string_view bytes, std::string_view protocol = kProtocol) {
  SessionTail tail(protocol);
  tail.pass(bytes);
  return tail.last_words("of a reason");
}

TEST(SessionTail, a_status_and_a_goodbye_follow_whole_messages) {
  for (const auto& bytes : {std::string(), frame(2, "\x01out"), frame(2, std::string(200, '\x01')),
                            frame(2, std::string(70'000, '\x01')) + frame(9, "ping"),
                            part(2,
                                 "\x01"
                                 "a") +
                                frame(9, "") + frame(0, "b")}) {
    io::WebSocketParser parser(io::WebSocketRole::kClient, 1u << 20);
    parser.put(said_after(bytes));
    const auto status = parser.next(), goodbye = parser.next();
    ASSERT_TRUE(status && *status && goodbye && *goodbye) << bytes.size();
    EXPECT_EQ((*status)->opcode, 2);
    EXPECT_EQ((*status)->payload.front(), '\x03');
    const auto json = parse_json((*status)->payload.substr(1));
    ASSERT_TRUE(json);
    EXPECT_EQ(get_string(*json, "status"), "Failure");
    EXPECT_NE(get_string(*json, "message").find("of a reason"), std::string::npos);
    EXPECT_EQ((*goodbye)->opcode, 8);
  }
}

TEST(SessionTail, nothing_is_said_in_the_middle_of_a_message_after_its_end_or_in_another_protocol) {
  const auto message = frame(2, std::string(300, '\x01'));
  for (std::size_t n = 1; n < message.size(); ++n) EXPECT_EQ(said_after(message.substr(0, n)), "") << n;
  EXPECT_EQ(said_after(part(2,
                            "\x01"
                            "a")),
            "");
  EXPECT_EQ(said_after(part(2,
                            "\x01"
                            "a") +
                       frame(9, "")),
            "")
      << "a ping between its parts";
  EXPECT_EQ(said_after(frame(2, "\x03{}")), "") << "a second Status";
  EXPECT_EQ(said_after(frame(8, "\x03\xe8")), "");
  EXPECT_EQ(said_after("", ""), "");
  EXPECT_EQ(said_after("", "SPDY/3.1+portforward.k8s.io"), "");
  EXPECT_NE(said_after(frame(2,
                             "\x01"
                             "\x03")),
            "")
      << "output that looks like a Status";
  SessionTail lost(kProtocol);
  lost.lose_track();
  EXPECT_EQ(lost.last_words("of a reason"), "");
}

TEST(SessionTail, it_does_not_matter_how_the_bytes_come) {
  const auto bytes = frame(2, std::string(70'000, '\x01')) + frame(9, "ping") + frame(2, "\x02");
  SessionTail tail(kProtocol);
  for (const char byte : bytes) tail.pass(std::string_view(&byte, 1));
  EXPECT_NE(tail.last_words("of a reason"), "");
}

}  // namespace
}  // namespace neap::app
