#!/usr/bin/env python3
"""Certificates are renewed in running services: the keys, the site and the run stay; revoking takes the old ones, too."""
import os
import re
import shutil
import unittest

from consortium import COORDINATOR, HANSE_BIN, LINK, TestCase, plan_text, wait_for

SITES = ["a", "b", "c"]
LATE_CLOCK = os.path.join(os.path.abspath(HANSE_BIN), "tests", "liblate_clock.so")
SICK_DISK = os.path.join(os.path.abspath(HANSE_BIN), "tests", "libsick_disk.so")


class Renew(TestCase):
    def ready(self):
        """Three sites, of which the first always finds its certificates too old."""
        c = self.consortium(SITES)
        with open(c.path("a", "node.yaml"), "a", encoding="utf-8") as file:
            file.write("renew_days: 3650\n")
        return c

    def read(self, c, *parts):
        with open(c.path(*parts), "rb") as file:
            return file.read()

    def test_while_a_run_goes_on(self):
        c = self.ready()
        old = {name: self.read(c, "a", name) for name in ("tls.pem", "sign.pem", "tls.key", "sign.key")}
        shutil.copy(c.path("a", "tls.pem"), c.path("old.pem"))
        roster = c.coordinator("sites", "--format", "json").data
        run_id = c.submit(plan_text(rounds__count=20, rounds__min_sites=3, aggregation__privacy="masked"))
        c.accept(run_id)
        c.start_nodes()
        shown = c.finish(run_id)
        self.assertTrue(all(s["state"] == "accepted" for r in shown["rounds"] for s in r["sites"]))
        log = c.log_of("a")
        self.assertEqual(log.count("certificates_renewed days=36"), 1)
        self.assertEqual(log.count(" connected "), 1)  # nothing was interrupted
        for name in ("tls.pem", "sign.pem"):
            self.assertNotEqual(self.read(c, "a", name), old[name])
        for name in ("tls.key", "sign.key"):
            self.assertEqual(self.read(c, "a", name), old[name])
        self.assertEqual([s["key"] for s in c.coordinator("sites", "--format", "json").data], [s["key"] for s in roster])
        self.assertIn("renewed site=a", c.log())
        for dir_, files in (("a", 4), ("coordinator", 4)):
            metrics = self.read(c, dir_, "metrics.prom").decode()
            days = [float(line.split()[1]) for line in metrics.splitlines() if line.startswith("hanse_certificate_days_left{file=")]
            self.assertEqual(len(days), files)
            self.assertTrue(all(300 < d < 20 * 366 for d in days), metrics)

        c.nodes["a"].stop()  # the new ones open the next connection; another renewal within the hour is refused, and does no harm
        c.start_node("a")
        wait_for(lambda: "certificates_not_renewed" in c.log_of("a"), "the refusal")
        self.assertIn("within the last hour", c.log_of("a"))
        c.nodes["a"].stop()

        c.coordinator("revoke", "a")  # neither is good for anything now
        self.assertIn("revoked", c.node("a", "check", code=LINK).err)
        shutil.copy(c.path("old.pem"), c.path("a", "tls.pem"))
        self.assertIn("revoked", c.node("a", "check", code=LINK).err)

    def test_a_year_later(self):
        """The operator is warned of what runs out; the node renews its own, the operator the revocation list, and rounds go on."""
        c = self.consortium(["a"])
        c.service.stop()
        late = {"LD_PRELOAD": LATE_CLOCK, "LATE_CLOCK_DAYS": "340"}
        c.serve(env=late)
        wait_for(lambda: re.search("certificate_expires file=crl.pem days_left=2[45]", c.log_of("coordinator")), "the coordinator's warning")
        self.assertEqual(c.log_of("coordinator").count("certificate_expires"), 1)
        out = c.node("a", "run", "--once", env=late).err
        for name in ("tls.pem", "sign.pem"):
            self.assertRegex(out, "certificate_expires file=%s days_left=2[45]" % name)
        self.assertRegex(out, "certificates_renewed days=36[45]")
        self.assertNotIn("certificate_expires", c.node("a", "run", "--once", env=late).err)
        c.coordinator("revoke", env=late)
        late["LATE_CLOCK_DAYS"] = "600"  # past the end of the first ones
        self.assertNotIn("link_down", c.node("a", "run", "--once", env=dict(late, LATE_CLOCK_DAYS="340")).err)
        c.service.stop()
        c.serve(env=late)
        c.node("a", "run", "--once", env=late)
        self.assertEqual(c.log_of("coordinator").count("certificate_expires"), 1)

    def test_list_that_ended_while_a_site_was_away(self):
        """The site's copy of the revocation list is past its end, the coordinator's is not: it connects, and takes the newer one."""
        c = self.consortium(["a"])
        c.service.stop()
        late = {"LD_PRELOAD": LATE_CLOCK, "LATE_CLOCK_DAYS": "300"}
        c.serve(env=late)
        self.assertIn("certificates_renewed", c.node("a", "run", "--once", env=late).err)
        c.service.stop()
        late["LATE_CLOCK_DAYS"] = "400"
        c.coordinator("revoke", env=late)
        c.serve(env=late)
        before = self.read(c, "a", "crl.pem")
        out = c.node("a", "run", "--once", env=late).err
        self.assertIn("connected", out)
        self.assertNotIn("link_down", out)
        self.assertNotEqual(self.read(c, "a", "crl.pem"), before)

    def test_revocation_that_cannot_be_taken_at_once(self):
        """Neither the list nor, at the next try, the site's row can be read: the service tries again by itself, until the site is cut off."""
        c = self.consortium(["a", "b"])
        c.service.stop()
        c.serve(env={"LD_PRELOAD": SICK_DISK, "SICK_DISK": c.path("sick")})
        c.start_nodes()
        for site in c.sites:
            wait_for(lambda: " connected " in c.log_of(site), "a connection of " + site)
        c.write("sick", "unreadable /crl.pem")
        c.coordinator("revoke", "b")
        wait_for(lambda: re.search("requests reason=.*/crl.pem", c.log_of("coordinator")), "trouble with the list")
        os.rename(c.write("sicker", "unreadable /state.db"), c.path("sick"))
        wait_for(lambda: re.search("requests reason=.*/state.db", c.log_of("coordinator")), "trouble with the database")
        self.assertNotIn("session_refused", c.log_of("coordinator"))
        os.remove(c.path("sick"))
        wait_for(lambda: "session_refused site=b code=identity" in c.log_of("coordinator"), "the end of the site's connection")
        c.nodes["b"].stop()
        self.assertIn("revoked", c.node("b", "check", code=LINK).err)
        self.assertEqual((c.log_of("a").count(" connected "), c.log_of("a").count("link_down")), (1, 0))

    def test_revoked_while_a_round_was_open(self):
        """A service that was stopped within a masked round finds one of its members revoked: that round is void, the run goes on."""
        c = self.consortium(["a", "b", "c", "d"])
        run_id = c.submit(plan_text(rounds__schedule="on-demand", rounds__min_sites=3, rounds__deadline="2m", aggregation__privacy="masked"))
        c.accept(run_id)
        c.start_nodes()
        c.coordinator("round", run_id)  # statistics; everybody leaves tickets for the next
        c.nodes["d"].stop()
        waiting = c.start("round", COORDINATOR, "round", run_id, "--dir", c.home)
        wait_for(lambda: all("contribution_accepted run=toy round=1 site=%s" % site in c.log_of("coordinator") for site in "abc"), "the contributions")
        c.service.stop()
        waiting.stop()
        c.coordinator("revoke", "d")
        c.serve()
        wait_for(lambda: "round_void run=toy round=1" in c.log_of("coordinator"), "the end of the round")
        self.assertNotIn("run_not_loaded", c.log_of("coordinator"))
        self.assertEqual(c.coordinator("round", run_id, "--format", "json").data, {"round": 1, "state": "published"})

    def test_roster_outlives_its_certificates(self):
        """A run that is open when the certificates of its submission end goes on with the renewed ones."""
        c = self.consortium(SITES)
        run_id = c.submit(plan_text(rounds__schedule="on-demand", rounds__min_sites=3, aggregation__privacy="masked"))
        c.accept(run_id)
        c.start_nodes()
        c.coordinator("round", run_id)
        for days in ("300", "400"):  # renewed within their last third; past the end of the first ones
            for node in c.nodes.values():
                node.stop()
            c.service.stop()
            late = {"LD_PRELOAD": LATE_CLOCK, "LATE_CLOCK_DAYS": days}
            c.coordinator("revoke", env=late)  # a fresh revocation list
            c.serve(env=late)
            for site in SITES:
                c.node(site, "run", "--once", env=late)
                c.start_node(site, env=late)
            self.assertEqual(c.coordinator("round", run_id, "--format", "json", env=late).data["state"], "published")

    def test_authority_offline(self):
        c = self.ready()
        before = self.read(c, "a", "sign.pem")
        os.rename(os.path.join(c.home, "ca", "ca.key"), c.path("ca.key"))
        out = c.node("a", "run", "--once")
        self.assertIn("certificates_not_renewed", out.err)
        self.assertIn("offline", out.err)
        self.assertEqual(self.read(c, "a", "sign.pem"), before)
        os.rename(c.path("ca.key"), os.path.join(c.home, "ca", "ca.key"))
        self.assertIn("certificates_renewed", c.node("a", "run", "--once").err)


if __name__ == "__main__":
    unittest.main()
