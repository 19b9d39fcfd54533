"""The health rules, one module each: its parameters, its state, how it judges and how it words its evidence.

A module's name is the rule's name in the rules file and in findings; its class is `RULE`. Every module here is a rule:
see `steptrail.consumers.health.rules.registry`.
"""
