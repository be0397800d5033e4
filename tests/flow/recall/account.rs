//! Our own requests to a peer that asks for credentials: we have an account there.
//!
//! Spec: RFC 3261 §22.2, §22.3; RFC 7616 §3.4; RFC 8760 §2.4; RULES R4.

use crate::flow::kit::completion::{REQUEST_LAST, connects, is_confirmed, picks_up, recalled};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, invite, reinvite, response, within};
use crate::flow::kit::message::Message;
use crate::flow::kit::monitor::{
    BOB, MONITOR, Watch, accept, alice_and_peer, alice_failed_at_peer, call_info, ends,
    fails_at_peer, is_queued_at_peer, notifies,
};
use crate::flow::kit::party::Party;
use crate::flow::kit::password::CAMPON;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;

const MD5: &str =
    "Digest realm=\"pbx\", nonce=\"n1\", opaque=\"o\", qop=\"auth,auth-int\", algorithm=MD5";
const SHA: &str =
    "Digest realm=\"pbx\", nonce=\"n1\", opaque=\"o\", qop=\"auth\", algorithm=SHA-256";

/// The peer asks a request of ours for credentials, with these challenges.
#[track_caller]
fn asks(pbx: &Party, request: &Message, status: u16, challenges: &[&str]) {
    let field = if status == 401 {
        "WWW-Authenticate"
    } else {
        "Proxy-Authenticate"
    };
    let draft = response(request, status);
    let draft = challenges
        .iter()
        .fold(draft, |draft, it| draft.with(field, it));
    pbx.sends(draft);
    if request.kind() == "INVITE" {
        pbx.receives("ACK");
    }
}

/// The request comes again, right and as the next of its dialog.
#[track_caller]
fn comes_again(pbx: &Party, before: &Message, field: &str, challenge: &str) -> Message {
    let [again] = pbx.receives_each([before.kind()]);
    assert_eq!(before.find(field), None, "{before}");
    CAMPON.is_proven_by(again.header(field), challenge, &again);
    assert_eq!(again.uri(), before.uri());
    for same in ["Call-ID", "From", "To"] {
        assert_eq!(again.header(same), before.header(same));
    }
    assert_eq!(again.cseq(), before.cseq() + 1, "{again}");
    assert_eq!(again.body(), before.body());
    again
}

#[test]
fn each_request_of_our_own_is_proven_when_it_is_asked_for() {
    let (_world, alice, pbx) = alice_failed_at_peer(Setup::OwnAccount);
    let code = alice.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let sent = pbx.receives("SUBSCRIBE");
    // S-171: the first that we know.
    let unknown = "Digest realm=\"pbx\", nonce=\"n0\", algorithm=SHA-512-256";
    asks(&pbx, &sent, 401, &[unknown, SHA, MD5]);
    let sent = comes_again(&pbx, &sent, "Authorization", SHA);
    let accepted = pbx.sends(accept(&sent, "3600"));
    is_confirmed(&alice, &code);
    let watch = Dialog::of_callee(&sent, &accepted);
    notifies(&pbx, &watch, "queued");
    notifies(&pbx, &watch, "ready");
    let recall = recalled(&alice);
    let talk = picks_up(&alice, &recall);
    let rings = pbx.receives("INVITE");
    asks(&pbx, &rings, 407, &[MD5]);
    let rings = comes_again(&pbx, &rings, "Proxy-Authorization", MD5);
    let (_, callee) = connects(&alice, &pbx, &rings);
    ends(&pbx, &watch, "noresource");
    alice.hangs_up(&talk);
    let [bye] = pbx.receives_each(["BYE"]);
    assert_eq!(bye.call_id(), callee.call_id);
    assert!(bye.cseq() > rings.cseq(), "{bye}"); // S-13
    asks(&pbx, &bye, 401, &[MD5]);
    let bye = comes_again(&pbx, &bye, "Authorization", MD5);
    pbx.answers(&bye, 200);
    alice.receives("200");
}

/// R4: the call is ours, and so is what either of the two asks in it of the peer.
#[test]
fn what_is_asked_within_a_call_of_our_own_is_proven() {
    let (world, alice, pbx) = alice_and_peer(Setup::OwnAccount);
    let (watch, talk, first) = rings(&alice, &pbx);
    let (_, callee) = connects(&alice, &pbx, &first);
    ends(&pbx, &watch.dialog, "noresource");

    let sent = alice.sends(reinvite(&talk).with_sdp(OFFER));
    let [asked] = pbx.receives_each(["INVITE"]);
    assert_eq!(asked.call_id(), callee.call_id);
    asks(&pbx, &asked, 407, &[MD5]);
    let again = comes_again(&pbx, &asked, "Proxy-Authorization", MD5);
    pbx.sends(response(&again, 200).with_sdp(ANSWER));
    let [answer] = alice.receives_each(["200"]);
    alice.acks(&sent, &answer);
    // S-13: that of the INVITE that was answered.
    let ack = pbx.receives("ACK");
    assert_eq!(ack.cseq(), again.cseq());

    for method in ["UPDATE", "INFO"] {
        alice.sends(within(&talk, method));
        let [asked] = pbx.receives_each([method]);
        assert!(asked.cseq() > again.cseq(), "{asked}");
        asks(&pbx, &asked, 401, &[MD5]);
        let again = comes_again(&pbx, &asked, "Authorization", MD5);
        pbx.answers(&again, 200);
        alice.receives("200");
    }

    // One that is refused is Alice's to hear of, and the call stays.
    let sent = alice.sends(reinvite(&talk).with_sdp(OFFER));
    let [asked] = pbx.receives_each(["INVITE"]);
    asks(&pbx, &asked, 407, &[MD5]);
    let again = comes_again(&pbx, &asked, "Proxy-Authorization", MD5);
    asks(&pbx, &again, 407, &[&MD5.replace("n1", "n2")]);
    let [refusal] = alice.receives_each(["407"]);
    alice.acks(&sent, &refusal);
    assert_eq!(world.counted("credentials_refused"), 1);
    hang_up(&alice, &talk, &pbx);
}

/// S-163: what begins with a REFER is named by its number, whichever it went with in the end.
#[test]
fn a_refer_that_was_proven_is_told_of_by_its_first_number() {
    let (_world, alice, pbx) = alice_and_peer(Setup::OwnAccount);
    let (watch, talk, first) = rings(&alice, &pbx);
    let (_, callee) = connects(&alice, &pbx, &first);
    ends(&pbx, &watch.dialog, "noresource");
    let refer = within(&talk, "REFER")
        .with("Refer-To", "<sip:carol@pbx.example>")
        .with("Contact", &format!("<{}>", alice.uri()));
    let sent = alice.sends(refer);
    let [asked] = pbx.receives_each(["REFER"]);
    asks(&pbx, &asked, 401, &[MD5]);
    let again = comes_again(&pbx, &asked, "Authorization", MD5);
    pbx.answers(&again, 202);
    alice.receives("202");
    let news = within(&callee, "NOTIFY")
        .with("Event", &format!("refer;id={}", again.cseq()))
        .with("Subscription-State", "terminated;reason=noresource")
        .with("Contact", &format!("<{}>", pbx.uri()))
        .with_body("message/sipfrag", b"SIP/2.0 200 OK\r\n");
    pbx.sends(news);
    let told = alice.receives("NOTIFY");
    assert_eq!(told.header("Event"), format!("refer;id={}", sent.cseq()));
    alice.answers(&told, 200);
    pbx.receives("200");
    hang_up(&alice, &talk, &pbx);
}

/// Alice's recall is answered, and the call to Bob is at the peer.
#[track_caller]
fn rings(alice: &Party, pbx: &Party) -> (Watch, Dialog, Message) {
    fails_at_peer(alice, pbx, BOB, &call_info(MONITOR));
    let watch = is_queued_at_peer(alice, pbx);
    notifies(pbx, &watch.dialog, "ready");
    let recall = recalled(alice);
    let talk = picks_up(alice, &recall);
    (watch, talk, pbx.receives("INVITE"))
}

#[test]
fn a_nonce_that_has_run_out_is_replaced_and_a_proxy_may_ask_besides() {
    let (_world, alice, pbx) = alice_and_peer(Setup::OwnAccount);
    let (watch, talk, first) = rings(&alice, &pbx);
    asks(&pbx, &first, 401, &[MD5]);
    let second = comes_again(&pbx, &first, "Authorization", MD5);
    let fresh = MD5.replace("n1", "n2") + ", stale=true";
    asks(&pbx, &second, 401, &[&fresh]);
    let third = pbx.receives("INVITE");
    CAMPON.is_proven_by(third.header("Authorization"), &fresh, &third);
    let proxy = MD5.replace("\"pbx\"", "\"proxy\"");
    asks(&pbx, &third, 407, &[&proxy]);
    let fourth = pbx.receives("INVITE");
    CAMPON.is_proven_by(fourth.header("Proxy-Authorization"), &proxy, &fourth);
    // S-173: the nonce of the other realm is used again, and says so.
    let again = fourth.header("Authorization");
    assert!(
        again.contains("nonce=\"n2\"") && again.contains("nc=00000002"),
        "{again}"
    );
    assert_eq!(fourth.cseq(), first.cseq() + 3);
    connects(&alice, &pbx, &fourth);
    ends(&pbx, &watch.dialog, "noresource");
    hang_up(&alice, &talk, &pbx);
}

#[test]
fn a_password_that_is_wrong_is_not_tried_again() {
    let (world, alice, pbx) = alice_and_peer(Setup::OwnAccount);
    let (_, recall, first) = rings(&alice, &pbx);
    asks(&pbx, &first, 401, &[MD5]);
    let second = comes_again(&pbx, &first, "Authorization", MD5);
    asks(&pbx, &second, 401, &[&MD5.replace("n1", "n2")]);
    pbx.receives_nothing();
    let [bye] = alice.receives_each(["BYE"]);
    assert_eq!(bye.call_id(), recall.call_id);
    alice.answers(&bye, 200);
    assert_eq!(world.counted("requests_proven"), 1);
    assert_eq!(world.counted("credentials_refused"), 1);
}

/// R4: whose credentials a relayed request needs is for its sender to know.
#[test]
fn nothing_that_is_relayed_is_proven_by_our_account() {
    let (_world, alice, pbx) = alice_and_peer(Setup::OwnAccount);
    let sent = alice.sends(invite(BOB).with_sdp(OFFER));
    let got = pbx.receives("INVITE");
    asks(&pbx, &got, 407, &[MD5]);
    pbx.receives_nothing();
    let asked = refused(&alice, &sent, "407");
    assert_eq!(asked.header("Proxy-Authenticate"), MD5);
    // Help, too, is called without.
    let sent = alice.sends(invite("urn:service:sos").with_sdp(OFFER));
    let got = pbx.receives("INVITE");
    asks(&pbx, &got, 407, &[MD5]);
    pbx.receives_nothing();
    refused(&alice, &sent, "407");
}

/// A phone that is gone while we prove ourselves: the CANCEL is of the INVITE that is out.
#[test]
fn what_was_proven_can_be_taken_back() {
    let (_world, alice, pbx) = alice_and_peer(Setup::OwnAccount);
    let (_, recall, first) = rings(&alice, &pbx);
    asks(&pbx, &first, 407, &[MD5]);
    let second = comes_again(&pbx, &first, "Proxy-Authorization", MD5);
    pbx.answers(&second, 180);
    alice.leaves(&recall);
    let [cancel] = pbx.receives_each(["CANCEL"]);
    assert_eq!(cancel.header("Via"), second.header("Via"));
    assert_eq!(cancel.cseq(), second.cseq());
    pbx.answers(&cancel, 200);
    pbx.refuses(&second, 487);
}
