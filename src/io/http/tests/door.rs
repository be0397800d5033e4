//! Connections that say nothing, or are too many.

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::config::ApiConnections;
use crate::io::http::door;

/// How long anything may take that is sure to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test.
const EVER: Duration = Duration::from_hours(1);
const FIRST: &str = "GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The API behind its door.
struct House {
    at: SocketAddr,
    tally: Arc<Tally>,
    _api: Api,
}

impl House {
    async fn open(limits: ApiConnections, rate: Rate) -> Self {
        let access = Access {
            tokens: tokens(),
            is_open: false,
        };
        let api = Api::start(Office::where_bob_was_busy(&[]), access, rate);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let at = listener.local_addr().expect("an address");
        let tally = Arc::new(Tally::default());
        let (router, counts) = (api.router.clone(), Arc::clone(&tally));
        tokio::spawn(door::serve(impatient(listener), router, limits, counts));
        Self {
            at,
            tally,
            _api: api,
        }
    }

    /// Connects, and says this.
    async fn says(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("open");
        stream
    }

    fn counted(&self) -> [u64; 3] {
        let tally = &self.tally;
        [&tally.accepted, &tally.idle, &tally.refused].map(|count| count.load(Ordering::Relaxed))
    }
}

/// All that comes until the connection is closed.
async fn heard(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let all = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    all.expect("it is closed").expect("not reset");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether it is answered with 200; nothing more of the answer is read.
async fn is_served(stream: &mut TcpStream) -> bool {
    let mut start = [0; 12];
    let read = timeout(PATIENCE, stream.read_exact(&mut start)).await;
    read.expect("an answer").expect("twelve bytes");
    &start == b"HTTP/1.1 200"
}

/// RFC 9112 §9.5: at the start, in the middle of a head, and after a request that was answered.
#[test]
fn a_connection_that_says_nothing_is_closed() {
    run(async {
        let limits = ApiConnections {
            idle_max: Duration::from_millis(50),
            ..ApiConnections::default()
        };
        let house = House::open(limits, Rate::default()).await;
        let mut silent = house.says("").await;
        let mut slow = house.says("GET /v1/status HT").await;
        let mut kept = house.says(FIRST).await;
        assert!(!heard(&mut silent).await.contains(" 200 "));
        assert!(!heard(&mut slow).await.contains(" 200 "));
        let answer = heard(&mut kept).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\"openapi\""), "{answer}");
        assert_eq!(house.counted(), [3, 3, 0]);
    });
}

/// RFC 9110 §15.5.9: whose body does not come is not waited for.
#[test]
fn a_body_that_does_not_come_is_a_408() {
    run(async {
        let limits = ApiConnections {
            idle_max: EVER,
            ..ApiConnections::default()
        };
        let rate = Rate {
            body_max: Duration::from_millis(50),
            ..Rate::default()
        };
        let house = House::open(limits, rate).await;
        let head = "POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer complete-any\r\n\
                    Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"from\":";
        let answer = heard(&mut house.says(head).await).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("INVALPOINTER"), "{answer}");
    });
}

/// RFC 9110 §15.6.4: who comes beyond the last place hears so, and may come when one is free.
#[test]
fn whoever_comes_beyond_the_last_place_hears_503() {
    run(async {
        let limits = ApiConnections {
            all_max: 2,
            idle_max: EVER,
        };
        let house = House::open(limits, Rate::default()).await;
        let mut first = house.says(FIRST).await;
        let mut second = house.says(FIRST).await;
        assert!(is_served(&mut first).await && is_served(&mut second).await);
        let refused = heard(&mut house.says(FIRST).await).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("Retry-After: 1\r\n"), "{refused}");
        assert!(refused.contains("RESOURCEUNAVAIL"), "{refused}");
        assert_eq!(house.counted(), [2, 0, 1]);
        drop(first);
        let come_again = async { while !is_served(&mut house.says(FIRST).await).await {} };
        timeout(PATIENCE, come_again).await.expect("a place");
        // The other has its own all the while.
        let rest = FIRST.replace("Host", "Connection: close\r\nHost");
        second.write_all(rest.as_bytes()).await.expect("open");
        let both = heard(&mut second).await;
        assert_eq!(both.matches("HTTP/1.1 200 ").count(), 1, "{both}");
    });
}
