//! What reading and writing an INVITE costs.

use std::hint::black_box;

use campon::sip::{Checked, Message, Method, Name, NameAddr, Scratch, Uri, Via, Writer};
use criterion::{Criterion, criterion_group, criterion_main};

const INVITE: &str = "INVITE sip:+4930123456@pbx.example.com;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.17:5062;branch=z9hG4bK-524287-1---a1b2c3d4e5f60718;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@192.0.2.17:5062;transport=udp>\r\n\
    To: <sip:+4930123456@pbx.example.com;user=phone>\r\n\
    From: \"Alice Example\" <sip:alice@pbx.example.com>;tag=9f3c27a1\r\n\
    Call-ID: 84922ZjQ2MTYzYzE4N2NjNmQ1ZmM4NGE3Y2Y1MGE5ZmI3MTA\r\n\
    CSeq: 1 INVITE\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, REFER, NOTIFY, MESSAGE, UPDATE, INFO, SUBSCRIBE\r\n\
    Content-Type: application/sdp\r\n\
    Supported: replaces, 100rel, timer, norefersub\r\n\
    User-Agent: Example Phone 1.0\r\n\
    Allow-Events: presence, kpml, talk\r\n\
    Content-Length: 130\r\n\
    \r\n\
    v=0\r\no=- 13 1 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

const FROM: &[u8] = b"\"Alice Example\" <sip:alice@pbx.example.com>;tag=9f3c27a1";
const VIA: &[u8] = b"SIP/2.0/UDP 192.0.2.17:5062;branch=z9hG4bK-524287-1---a1b2c3d4;rport";

fn read(criterion: &mut Criterion) {
    let mut scratch = Scratch::new();
    criterion.bench_function("index an INVITE", |bench| {
        bench.iter(|| {
            let message = Message::parse(black_box(INVITE.as_bytes()), &mut scratch);
            message.expect("an INVITE").body().len()
        });
    });
    criterion.bench_function("index and check an INVITE", |bench| {
        bench.iter(|| {
            let message = Message::parse(black_box(INVITE.as_bytes()), &mut scratch);
            let checked = Checked::check(message.expect("an INVITE"));
            black_box(&checked).is_ok()
        });
    });
    criterion.bench_function("parse a From", |bench| {
        bench.iter(|| NameAddr::parse(black_box(FROM)).is_ok_and(|from| from.tag().is_some()));
    });
    criterion.bench_function("parse a Via", |bench| {
        bench.iter(|| Via::parse(black_box(VIA)).is_ok_and(|via| via.branch().is_some()));
    });
    let uri = Uri::parse(b"sip:alice@pbx.example.com;transport=tcp").expect("a URI");
    let same = Uri::parse(b"sip:alice@PBX.example.com;transport=TCP").expect("a URI");
    criterion.bench_function("compare two URIs", |bench| {
        bench.iter(|| black_box(&uri).is_equivalent(black_box(&same)));
    });
}

fn write(criterion: &mut Criterion) {
    let mut scratch = Scratch::new();
    let message = Message::parse(INVITE.as_bytes(), &mut scratch).expect("an INVITE");
    let mut out = Vec::with_capacity(2048);
    criterion.bench_function("write the other leg's INVITE", |bench| {
        bench.iter(|| {
            out.clear();
            let mut writer = Writer::request(&mut out, Method::Invite, b"sip:+4930123456@h");
            writer
                .header(Name::Via, b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa1b2c3d4")
                .header_parts(
                    Name::From,
                    &[b"<sip:alice@pbx.example.com>;tag=", b"9f3c27a2"],
                )
                .header(Name::CallId, b"84922ZjQ2MTYzYzE4N2NjNmQ1ZmM4")
                .header(Name::CSeq, b"1 INVITE");
            let own = [Name::Via, Name::From, Name::CallId, Name::CSeq];
            for header in message
                .headers()
                .filter(|header| !own.contains(&header.name))
            {
                writer.copy(header);
            }
            writer
                .finish(black_box(message.body()))
                .expect("a message")
                .len()
        });
    });
}

criterion_group!(benches, read, write);
criterion_main!(benches);
