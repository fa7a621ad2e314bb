"""The public meal-delivery benchmark: its instances, days, metrics and solution files, as text and numbers.

It must not know how a plan is made. What the instances call a courier is a driver here, and a bundle is a trip.
Source: Reyes, Erera, Savelsbergh, Sahasrabudhe and O'Neil, "Meal Delivery Routing: The Grubhub Instances", 2018.
"""
